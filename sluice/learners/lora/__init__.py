"""A small causal language model tuned to answer as a prompt's items do: low-rank adapters, trained by peft."""
