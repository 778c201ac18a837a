"""The one way to an object store: a boto3 client with limits on every wait."""

from __future__ import annotations

import os
from typing import Any

from sluice.core.errors import MissingExtra


def client(field: str, *, connect: float = 5, read: float = 30, attempts: int = 4) -> Any:
    """A client of S3; credentials, region and endpoint are boto3's own (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL_S3``, profiles, roles).

    Args:
        field: the setting that asked for it, named where boto3 is missing.
        connect, read: seconds to connect, and to wait for the next bytes.
        attempts: how often a call is tried in all.

    Raises:
        MissingExtra: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as e:
        raise MissingExtra("s3:// needs boto3", field=field, fix="pip install 'sluice-ml[s3]'") from e
    own = bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))
    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # Servers other than AWS's know neither buckets as host names nor the newer checksums; digests are checked by whoever reads.
        s3={"addressing_style": "path" if own else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ("us-east-1" if own else None)
    return boto3.session.Session().client("s3", region_name=region, config=config)
