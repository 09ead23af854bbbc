"""Backends: where tensors live and how processes work together. One file each."""
