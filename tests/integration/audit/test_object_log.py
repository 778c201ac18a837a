"""The audit log in an object store (a real S3 protocol, moto's server): an object a record, one chain, kept by object lock.

``SLUICE_TEST_S3=http://127.0.0.1:7070`` asks another server, empty and with the credentials of the environment: versitygw, MinIO.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from sluice.audit.log import AuditError, log_at, records
from sluice.audit.objects import ObjectLog
from sluice.audit.record import Entry
from sluice.audit.verify import verify
from sluice.core import s3


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """The server's client, with a bucket `plain` and one, `locked`, that has object lock."""
    patch, other = pytest.MonkeyPatch(), os.environ.get("SLUICE_TEST_S3")
    server = None if other else ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    if server is not None:
        server.start()
        host, port = server.get_host_and_port()
        other = f"http://{host}:{port}"
        patch.setenv("AWS_ACCESS_KEY_ID", "k")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    patch.setenv("AWS_ENDPOINT_URL", str(other))
    patch.setenv("AWS_REGION", "us-east-1")
    try:
        client = s3.client("test")
        client.create_bucket(Bucket="plain")
        client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        yield client
    finally:
        patch.undo()
        if server is not None:
            server.stop()


def keys(store: Any, bucket: str, prefix: str) -> list[str]:
    return [o["Key"] for o in store.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/records/").get("Contents", [])]


def test_writers_at_once_make_one_chain_an_object_a_record(store: Any) -> None:
    logs = [log_at("s3://plain/many") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: logs[i % 2].append(Entry("gate", "digits", reason=f"{i}")), range(6)))
    assert len(keys(store, "plain", "many")) == 6 and keys(store, "plain", "many")[3] == "many/records/000000000003.json"
    assert verify(*ObjectLog("s3://plain/many").read()) == []
    assert sorted(int(r.entry.reason) for r in records(logs[0])) == list(range(6))


def test_an_answer_that_was_lost_does_not_write_a_record_twice(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ObjectLog("s3://plain/lost")
    first = log._place.create

    def twice(*what: Any) -> bool:
        return first(*what) and first(*what)  # as a client does that tries again

    monkeypatch.setattr(log._place, "create", twice)
    log.append(Entry("gate", reason="once"))
    assert [r.entry.reason for r in records(log)] == ["once"]


def test_what_is_changed_removed_or_cut_off_is_found_and_stays_so(store: Any) -> None:
    log = ObjectLog("s3://plain/spoilt")
    for i in range(6):
        log.append(Entry("promotion", "digits", reason=f"{i}"))
    third = store.get_object(Bucket="plain", Key=keys(store, "plain", "spoilt")[3])["Body"].read()
    store.put_object(Bucket="plain", Key=keys(store, "plain", "spoilt")[3], Body=third.replace(b'"3"', b'"4"'))
    assert [f.sequence for f in verify(*log.read())] == [3]
    store.put_object(Bucket="plain", Key=keys(store, "plain", "spoilt")[3], Body=third)
    for key in keys(store, "plain", "spoilt")[4:]:
        store.delete_object(Bucket="plain", Key=key)
    assert [f.sequence for f in verify(*log.read())] == [4]
    ObjectLog("s3://plain/spoilt").append(Entry("gate", reason="unaware"))
    assert [f.sequence for f in verify(*log.read())] == [4, 5]


def test_object_lock_keeps_records_for_so_many_days_where_the_bucket_has_it(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_AUDIT_RETENTION_DAYS", "365")
    for bucket in ("locked", "plain"):
        ObjectLog(f"s3://{bucket}/kept").append(Entry("gate"))
    kept = store.head_object(Bucket="locked", Key=keys(store, "locked", "kept")[0])
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert timedelta(364) < kept["ObjectLockRetainUntilDate"] - datetime.now(UTC) <= timedelta(365)
    assert "ObjectLockMode" not in store.head_object(Bucket="plain", Key=keys(store, "plain", "kept")[0])
    monkeypatch.setenv("SLUICE_AUDIT_RETENTION_DAYS", "for ever")
    with pytest.raises(AuditError, match="no number of days"):
        ObjectLog("s3://locked/kept").append(Entry("gate"))


def test_a_bucket_that_is_not_there_is_said(store: Any) -> None:
    with pytest.raises(AuditError, match="there is no bucket nowhere"):
        log_at("s3://nowhere/x").append(Entry("gate"))
    with pytest.raises(AuditError, match="names no bucket"):
        log_at("s3://")
