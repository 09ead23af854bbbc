"""Writing shards: which images go where, and how."""
