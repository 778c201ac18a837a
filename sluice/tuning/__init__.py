"""Searching for settings: a space in the project file, a study that can be killed, trials in parallel."""
