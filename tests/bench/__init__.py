"""Measurements: interleaved, medians, both sides' versions printed. Never part of the tests."""
