"""A plugin of mplframe to learn from: one component a file, and `plugin.py` that registers them."""
