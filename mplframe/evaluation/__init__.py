"""What judges a classifier."""
