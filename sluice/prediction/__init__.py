"""Predicting files: rows in as their source was, the same rows out with what a package says of them."""
