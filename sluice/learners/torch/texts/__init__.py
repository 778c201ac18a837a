"""Texts by the torch learner: a pre-trained encoder, or a small one from scratch beside a linear model of n-grams."""
