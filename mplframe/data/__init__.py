"""Data, from shards on any store to the batches of a step.

stores -> index -> decode -> shards (a dataset source) and order -> fit -> stream -> loader.
"""
