"""Trackers: where metrics go. One file each."""
