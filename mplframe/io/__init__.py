"""Files on the local disk and in any store that fsspec knows: read in pieces, tried again, written whole."""
