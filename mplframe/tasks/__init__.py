"""Work between stages of training: labelling with a trained network, and selecting."""
