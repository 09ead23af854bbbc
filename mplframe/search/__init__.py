"""Search for better settings: trials are runs, in processes beside this one; Optuna chooses what they try."""
