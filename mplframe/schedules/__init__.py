"""Learning rates over steps, each a closed form of the step."""
