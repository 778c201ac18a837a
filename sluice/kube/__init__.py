"""Kubernetes: its API, images, what a cluster says of itself."""
