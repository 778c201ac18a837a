"""A measurement a kind of model: `python -m tests.bench.tasks.X` prints one JSON line."""
