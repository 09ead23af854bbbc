"""Methods: plans of stages. One file each."""
