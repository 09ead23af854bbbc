"""A plugin that is broken on purpose: one fault a file."""
