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
    """Has what a model is asked moved away from its training rows, and do the labels that came say that its answers are worse?

    Args:
        package: The package's registered address (s3://bucket/prefix/sha256/DIGEST), or a folder.
        log: The prediction log of its servers: s3://bucket/prefix, or a folder.
        model: Its name in the log; empty takes the package's.
        monitor: The section `monitor` of a project, as a JSON object.
        kept: Where it is noted how far the log was read: s3://bucket/key.json, or a file; empty reads all of it each time.
        home: The local home folder; empty on a cluster.
        metrics: Rows, windows, the largest shift, how many alarms stand, and the metric of the last window with labels.
        report: A picture of each feature over time.
        gate: The decision and the last windows, as JSON.

    Returns:
        `pass`, or `refuse` where an alarm stands or answers are worse.
    """
    from components.detect_drift.logic import run

    found = run(package, log, model=model, monitor=monitor, kept=kept, home=home, gate_path=gate.path, report_path=report.path)
    metrics.log_metric("rows", found.evidence["rows"])
    metrics.log_metric("new_rows", found.evidence["new_rows"])
    metrics.log_metric("windows", found.evidence["windows"])
    metrics.log_metric("alarms", len(found.evidence["standing"]))
    if found.evidence["last"] and found.evidence["last"]["score"] is not None:
        metrics.log_metric("largest_shift", found.evidence["last"]["score"])
    quality = found.evidence["quality"]
    if quality and quality["value"] is not None:
        metrics.log_metric(quality["metric"], quality["value"])
        metrics.log_metric("labelled_rows", quality["rows"])
        metrics.log_metric("errors_rose", float(bool(quality["risen"] and quality["risen"]["standing"])))
    return found.decision
