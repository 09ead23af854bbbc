"""Augmentations of uint8 image batches: one file each, listed in `mplframe.builtins`."""
