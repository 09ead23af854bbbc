"""What uses a trained network: predictions, judgement, scores."""
