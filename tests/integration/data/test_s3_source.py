"""Sources in S3, against a real server that speaks its protocol (moto)."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from sluice.core import processes
from sluice.core.errors import DataError
from sluice.core.png import png
from sluice.core.s3 import Place, StoreFault
from sluice.data import ranges
from sluice.data.config import Columns
from sluice.data.sources import read_source
from sluice.fields import field_of

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto.server")

CSV = b"age,label\n1,a\n2,b\n"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, log = processes.free_port(), tmp_path_factory.mktemp("moto") / "log"
    server = processes.spawn([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log=log)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return bool(urlopen(url, timeout=2).status == 200)
        except OSError:
            return False

    try:
        processes.wait_until(ready, what="moto", seconds=90, every=0.2, process=server, log=log)
        client = boto3.client("s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        client.create_bucket(Bucket="data")
        for key, body in {
            "rows.csv": CSV,
            "parts/1.csv": CSV,
            "parts/2.csv": CSV.replace(b"1,a", b"3,a"),
            "parts/readme.txt": b"x",
            "empty.csv": b"",
            "pets/cat/1.png": png([[1, 2], [3, 4]]),
            "pets/dog/1.png": png([[5, 6], [7, 8]]),
            "pets/": b"",
        }.items():
            client.put_object(Bucket="data", Key=key, Body=body)
        yield url
    finally:
        processes.stop(server)


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)


def read(uri: str, value: str | None = None, **kwargs: Any) -> Any:
    return read_source(uri, kwargs.get("format", "auto"), Path("/nowhere"), value and field_of(value, value), Columns())


def test_an_object_a_glob_and_a_folder(s3: None, tmp_path: Path) -> None:
    one = read("s3://data/rows.csv")
    assert one.table.to_pylist() == [{"age": 1.0, "label": "a"}, {"age": 2.0, "label": "b"}]
    (tmp_path / "local.csv").write_bytes(CSV)
    assert one.digest == read_source("local.csv", "auto", tmp_path, None).digest
    many = read("s3://data/parts/*.csv")
    assert many.table.column("age").to_pylist() == [1.0, 2.0, 3.0, 2.0] and many.place(2) == "s3://data/parts/2.csv row 1"
    images = read("s3://data/pets/", "image")
    assert images.table.column("label").to_pylist() == ["cat", "dog"] and images.place(1) == "s3://data/pets/dog/1.png"


@pytest.mark.parametrize(
    "uri, message",
    [
        ("s3://data/none.csv", "no such object"),
        ("s3://nowhere/rows.csv", "no such object|there is no bucket"),
        ("s3://nowhere/*.csv", "there is no bucket nowhere"),
        ("s3://data/none/*.csv", "matches no object"),
        ("s3://data/none/", "matches no object"),
        ("s3://", "names no bucket"),
        ("s3://data/empty.csv", "s3://data/empty.csv: is empty"),
        ("s3://data/parts/", "is a directory where a file is meant"),
    ],
)
def test_what_is_not_there_is_named(s3: None, uri: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as e:
        read(uri)
    assert e.value.fix


def test_no_server_is_an_explained_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{processes.free_port()}"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"S3 cannot be reached(.|\n)*AWS_ENDPOINT_URL"):
        read("s3://data/rows.csv")


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.data.objects.READ_SECONDS", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listener.getsockname()[1]}"}.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(DataError, match=r"S3 cannot be reached"):
            read("s3://data/rows.csv")
    finally:
        listener.close()
        for s in held:
            s.close()
    assert held, "the server was asked"


def test_no_credentials_is_an_explained_error(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*CREDENTIALS, "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"no credentials for S3(.|\n)*AWS_ACCESS_KEY_ID"):
        read("s3://data/rows.csv")


def test_a_large_object_is_brought_by_ranges_and_what_breaks_off_goes_on(s3: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    part = Place.part

    def broken(place: Place, key: str, first: int, last: int, etag: str) -> Iterator[bytes]:
        asked.append((first, last))
        for block in part(place, key, first, last, etag):
            yield block[: 2 if len(asked) == 1 else None]
            if len(asked) == 1:
                raise StoreFault("unreachable", "gone", "again")

    monkeypatch.setattr(Place, "part", broken)
    monkeypatch.setattr(ranges, "PART", 10)
    monkeypatch.setattr(ranges, "AT_ONCE", 1)
    assert read("s3://data/rows.csv").table.to_pylist() == [{"age": 1.0, "label": "a"}, {"age": 2.0, "label": "b"}]
    assert asked == [(0, 10), (2, 10), (10, len(CSV))]


def test_labelled_rows_come_from_the_store_where_the_servers_log(s3: None, endpoint: str, tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.support import logged

    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"age": [50.0, 60.0], "label": ["a", "b"]}), tmp_path / "rows/first.parquet")
    even, ids = np.full((3, 2), 0.5), ["r0", "r1", "r2"]
    features = {"age": np.arange(3.0)}
    logged.predictions(tmp_path / "log", [0, 1, 2], ids=ids, labels=["a", "b"], probabilities=even, features=features)
    logged.feedback(tmp_path / "log", [9, 9], ["r1", "r2"], ["a", "b"])
    uri = "labelled://m?rows=s3://data/told/rows/*.parquet&log=s3://data/told/log"
    for path in tmp_path.rglob("rows/*.parquet"):
        boto3.client("s3").upload_file(str(path), "data", f"told/{path.relative_to(tmp_path)}")
    assert read(uri).rows == 2, "before there is a log"
    for path in tmp_path.rglob("log/**/*.parquet"):
        boto3.client("s3").upload_file(str(path), "data", f"told/{path.relative_to(tmp_path)}")
    assert read(uri).table.to_pydict() == {"age": [50.0, 60.0, 1.0, 2.0], "label": ["a", "b", "a", "b"]}
