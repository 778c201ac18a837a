"""Prompts as models: what a prompt is, what it asks, and how its answers are judged. No torch, transformers or pandas."""
