"""What a run needs, found before it begins: memory, FLOPs, days."""
