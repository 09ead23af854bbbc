"""What the backend `xla_spmd` is made of. Only `runtime`, `constraint` and what imports them need torch_xla."""
