"""The KFP face of `detect_drift`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def detect_drift(
    package: str,
    log: str,
    model: str,
    monitor: dict,
    kept: str,
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    gate: dsl.Output[dsl.Artifact],
    home: str = "",
) -> str:
    """Has what a model is asked moved away from its training rows?

    Args:
        package: The package's registered address (s3://bucket/prefix/sha256/DIGEST), or a folder.
        log: The prediction log of its servers: s3://bucket/prefix, or a folder.
        model: Its name in the log; empty takes the package's.
        monitor: The section `monitor` of a project, as a JSON object.
        kept: Where it is noted how far the log was read: s3://bucket/key.json, or a file; empty reads all of it each time.
        home: The local home folder; empty on a cluster.
        metrics: Rows, windows, the largest shift and how many alarms stand.
        report: A picture of each feature over time.
        gate: The decision and the last windows, as JSON.

    Returns:
        `pass`, or `refuse` where an alarm stands.
    """
    from components.detect_drift.logic import run

    found = run(package, log, model=model, monitor=monitor, kept=kept, home=home, gate_path=gate.path, report_path=report.path)
    metrics.log_metric("rows", found.evidence["rows"])
    metrics.log_metric("new_rows", found.evidence["new_rows"])
    metrics.log_metric("windows", found.evidence["windows"])
    metrics.log_metric("alarms", len(found.evidence["standing"]))
    if found.evidence["last"] and found.evidence["last"]["score"] is not None:
        metrics.log_metric("largest_shift", found.evidence["last"]["score"])
    return found.decision
