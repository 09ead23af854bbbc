"""Optimizers of the papers, and the parameter groups they are built over."""
