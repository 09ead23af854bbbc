"""Raises when it is imported, as a plugin does whose own dependency doesn't load."""

raise RuntimeError("libbroken.so: cannot open shared object file")
