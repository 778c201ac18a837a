"""Recommendations learnt from who took what: popularity, item-item weights, matrix factorisation."""
