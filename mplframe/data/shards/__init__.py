"""From the bytes of shards to samples."""
