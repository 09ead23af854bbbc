"""What networks are trained on beside pseudo labels. Each loss gives one value a sample; the caller takes the mean."""
