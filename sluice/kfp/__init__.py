"""Kubeflow Pipelines: what steps ask of it, the checks of compiled pipelines, its API."""
