"""How answers are scored: an object each, found by name."""
