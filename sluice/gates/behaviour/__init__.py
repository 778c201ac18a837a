"""Behaviour: what a model must answer, must not be moved by, and must be moved by one way; cases that people wrote, in a file beside the project."""
