"""Causal language models that learn through low-rank adapters: the base stays as it is, and is neither in a checkpoint nor in the weights."""
