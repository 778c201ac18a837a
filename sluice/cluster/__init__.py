"""Running on a cluster: what steps ask of it, the checks of compiled pipelines, and the Kubeflow Pipelines API."""
