"""Adoption: a model that something else trained becomes a package, so that rollouts and watching can begin with it."""
