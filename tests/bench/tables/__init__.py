"""What `tests.bench.tasks.tabular` measures on, and whom it measures against."""
