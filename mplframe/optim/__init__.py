"""Lookaheads: what an optimizer's step does to the parameters, as a pure function of the gradient. One file each."""
