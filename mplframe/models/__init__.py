"""Networks: what no library has, small ones for CPUs, and a door to timm for the rest."""
