"""Feedback estimators: from the student's labeled gradient to a lesson for the teacher. One file each.

`dot`, `cosine`: one coefficient for the batch. `baseline`: any of them, less its moving average. `off`: the ablation.
"""
