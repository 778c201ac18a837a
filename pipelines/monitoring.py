"""The monitoring pipeline: a model's prediction log against its training rows, from where the last run stopped; meant for a schedule."""

from kfp import dsl

from components import cluster
from components.detect_drift.component import detect_drift

NAME = "sluice-monitoring"
DESCRIPTION = (
    "Compare what a model is asked with the rows it was trained on, say which features moved, and whether labels say that it errs more."
)


def monitoring(package: str, log: str, model: str = "", monitor: dict = {}, kept: str = "") -> None:  # type: ignore[type-arg]  # noqa: B006 - KFP knows plain dicts
    """A prediction log to a decision.

    Args:
        package: The package's registered address (s3://bucket/prefix/sha256/DIGEST); `sluice models` shows it.
        log: The prediction log of its servers: s3://bucket/prefix, or a folder on a volume.
        model: Its name in the log; leave empty to take the package's.
        monitor: The section `monitor` of the project, as a JSON object: window, drift, quality.
        kept: s3://bucket/key.json that notes how far the log was read; leave empty to read all of it each time.
    """
    ran = detect_drift(package=package, log=log, model=model, monitor=monitor, kept=kept, home=cluster.here().home)
    ran.set_caching_options(False)
    cluster.place(ran, "detect_drift")


monitoring_pipeline = dsl.pipeline(name=NAME, description=DESCRIPTION)(monitoring)
