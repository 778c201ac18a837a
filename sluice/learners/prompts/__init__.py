"""Prompts: nothing is trained."""
