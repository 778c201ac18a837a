"""The model registry: versions and aliases, and what serves."""
