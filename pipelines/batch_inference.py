"""The batch inference pipeline: every row of Parquet files through a registered package."""

from kfp import dsl

from components import cluster
from components.batch_predict.component import batch_predict

NAME = "sluice-batch-inference"
DESCRIPTION = "Predict every row of Parquet files with a registered model, at full machine speed."


def batch_inference(package: str, source: str, digest: str = "", keep: str = "row_id", max_bad: float = 0.0, engine: str = "local") -> None:
    """Parquet files to predictions.

    Args:
        package: The package's registered address (s3://bucket/prefix/sha256/DIGEST); `sluice models` shows it.
        source: A .parquet file, a folder of them or a glob, on a volume or s3://.
        digest: The digest the package must have; leave empty to take the address's.
        keep: Columns copied to the output, separated by commas.
        max_bad: The share of rows that may be unusable; 0 stops at the first.
        engine: local: every core of the step's pod. ray: the workers of a Ray cluster, whose address is RAY_ADDRESS in the step's environment.
    """
    ran = batch_predict(
        package=package, digest=digest, source=source, keep=keep, max_bad=max_bad, home=cluster.here().home, engine=engine, workers=0
    )
    cluster.place(ran, "batch_predict")


batch_inference_pipeline = dsl.pipeline(name=NAME, description=DESCRIPTION)(batch_inference)
