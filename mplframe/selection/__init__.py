"""From a teacher's scores to the images a student learns from: Parquet in, Parquet out, in bounded memory.

`scores`, `score_writer` and `score_reader` are the table of scores. `select` turns it into a manifest, `merge` joins
the manifests of partitions, `deduplicate` finds copies of test images. Importing this imports no torch.
"""
