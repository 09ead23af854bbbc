"""Feedback estimators: from the student's labeled gradient to a lesson for the teacher. One file each.

`dot`, `cosine`, `taylor`: one coefficient for the batch. `per_example`: one a sample. `exact`: one for each entry of
the pseudo-label distributions. `baseline`: any of them, less its moving average. `off`: the ablation.
"""
