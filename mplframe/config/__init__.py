"""Configuration: YAML in, frozen models out. Importing this imports no torch."""
