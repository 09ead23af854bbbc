"""Datasets by name, beside shards."""
