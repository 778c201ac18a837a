"""Steps' work on a Ray cluster of its own, which KubeRay makes for a `RayJob` and takes away when it is done."""

import os

#: The claim of the volume that a step and its job share.
CLAIM_ENV = "SLUICE_RAY_CLAIM"
#: In the job's folder: what is to be done, what came of it, and what was wrong.
JOB, RESULT, ERROR = "job.json", "result", "error.json"


def on_cluster(engine: str) -> bool:
    """Whether a step here hands its work to KubeRay: the engine is ray, and a shared volume is named."""
    return engine == "ray" and bool(os.environ.get(CLAIM_ENV))
