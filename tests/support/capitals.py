"""Questions with answers that a played endpoint knows: the prompts of tests ask them."""

from __future__ import annotations

CAPITALS = {
    "France": "Paris",
    "Spain": "Madrid",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Chile": "Santiago",
}


def said(question: str) -> str:
    """The capital of the country that a question names."""
    return next((v for k, v in CAPITALS.items() if k in question), "I am sorry, I cannot help with that.")
