"""What runs a packaged model, in this process: for parity, evaluation and batch prediction."""
