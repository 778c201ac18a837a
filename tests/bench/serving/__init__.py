"""The model server against its peers: ``python -m tests.bench.serving``."""
