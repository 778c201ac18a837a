"""The KFP face of `batch_predict`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def batch_predict(
    package: str,
    digest: str,
    source: str,
    keep: str,
    max_bad: float,
    engine: str,
    workers: int,
    predictions: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    gate: dsl.Output[dsl.Artifact],
    home: str = "",
) -> str:
    """Predict every row of Parquet files with a package.

    Args:
        package: The package's registered address (s3://bucket/prefix/sha256/DIGEST), or a folder.
        digest: The digest it must have; empty takes the address's.
        source: A .parquet file, a folder of them or a glob, on a volume or s3://.
        keep: Columns copied to the output, separated by commas.
        max_bad: The share of rows that may be unusable; 0 stops at the first, but leaves rows without a text or image out and counts them.
        home: The local home folder; empty on a cluster.
        engine: local, or ray: the workers of the cluster that RAY_ADDRESS names.
        workers: Cores; 0 takes those of the pod.
        predictions: One Parquet part an input file, in the rows' order.
        metrics: Rows, unusable rows, and the share of each label.
        gate: The counts, as JSON.

    Returns:
        `pass`, or `refuse` where too many rows cannot be used.
    """
    from components.batch_predict.logic import run

    found = run(
        package,
        source,
        predictions.path,
        digest=digest,
        home=home,
        keep=keep,
        max_bad=max_bad,
        engine=engine,
        workers=workers,
        gate_path=gate.path,
    )
    metrics.log_metric("rows", found.evidence["rows"])
    metrics.log_metric("unusable_rows", found.evidence["bad"])
    metrics.log_metric("empty_rows", found.evidence["empty"])
    for label, count in list(found.evidence["labels"].items())[:50]:
        metrics.log_metric(f"share_{label}", count / max(found.evidence["rows"], 1))
    return found.decision
