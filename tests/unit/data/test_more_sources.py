"""Sources behind https, DVC, and folders of Hugging Face's datasets: brought whole or refused with what to do."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import sys
import threading
import types
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from sluice.core.errors import DataError, MissingExtra
from sluice.data import ranges, web
from sluice.data.config import Columns, DataConfig
from sluice.data.sources import read_source
from sluice.data.stream import batches

ROWS = b"x,label\n1,a\n2,b\n3,a\n"
LARGE = b"x,label\n" + b"".join(b"%d,%s\n" % (i, b"ab"[i % 2 : i % 2 + 1]) for i in range(200))


def read(uri, base=Path()):
    return read_source(uri, "auto", base, None, Columns())


class Handler(http.server.BaseHTTPRequestHandler):
    tries = 0
    spans: ClassVar[list[tuple[int, int] | None]] = []

    def do_GET(self):
        name = self.path.partition("?")[0]
        Handler.tries += name == "/busy.csv"
        if name == "/moved.csv":
            self.send_response(302)
            self.send_header("Location", "/data/rows.csv")
            self.end_headers()
        elif name == "/away.csv":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif name == "/busy.csv" and Handler.tries < 3:
            self.send_error(503)
        elif name == "/gone.csv":
            self.send_error(404)
        elif name == "/ranges.csv" and (span := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))):
            Handler.spans.append((int(span[1]), int(span[2])))
            first, last = int(span[1]), min(int(span[2]), len(LARGE) - 1)
            broken = first and Handler.spans.count((first, int(span[2]))) < 2  # each range but the first ends early, once
            changed = "changed" in self.path and first
            self.send_response(206)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Range", f"bytes {first}-{last}/{'*' if 'unknown' in self.path else len(LARGE) + bool(changed)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            self.wfile.write(LARGE[first : last + 1 - (3 if broken else 0)])
        else:
            Handler.spans.append(None)
            self.send_response(200)
            self.send_header("Content-Length", str(len(ROWS) + (10 if name == "/short.csv" else 0)))
            self.end_headers()
            self.wfile.write(ROWS)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("path", ["/data/rows.csv?token=hidden", "/moved.csv", "/busy.csv"])
def test_a_file_is_brought_over_http_and_secrets_of_its_address_are_not_shown(site, path):
    found = read(site + path)
    assert found.table.num_rows == 3 and "hidden" not in found.parts[0][0]


def test_a_large_file_is_brought_by_ranges_and_what_breaks_off_goes_on(site, monkeypatch):
    monkeypatch.setattr(ranges, "PART", 300)
    Handler.spans.clear()
    assert read(f"{site}/ranges.csv").table.column("x").to_pylist() == list(map(float, range(200)))
    asked = set(Handler.spans)
    assert (0, 299) in asked and (300, 599) in asked and (597, 599) in asked  # the last: the three bytes that did not come
    with pytest.raises(DataError, match="another file than when"):
        read(f"{site}/ranges.csv?changed")
    assert read(f"{site}/ranges.csv?unknown").table.num_rows == 3  # asked for whole, since nobody says how much there is


@pytest.mark.parametrize(
    ("path", "said"), [("/gone.csv", "404"), ("/away.csv", "redirects to file://"), ("/short.csv", "cannot be fetched")]
)
def test_what_is_not_there_or_not_whole_is_an_error(site, path, said):
    with pytest.raises(DataError, match=said):
        read(site + path)


def test_nobody_answers_and_addresses_that_are_none(monkeypatch):
    monkeypatch.setattr(web, "_TRIES", 1)
    for uri, said in (
        ("http://127.0.0.1:1/rows.csv", "cannot be fetched"),
        ("https:///rows.csv", "names no host"),
        ("http://h:no/x.csv", "no address"),
    ):
        with pytest.raises(DataError, match=said):
            read(uri)


def saved(folder, table, features=None, **state):
    """A folder as `save_to_disk` writes it, in two files."""
    folder.mkdir(parents=True)
    half = table.num_rows // 2
    for i, part in enumerate((table.slice(0, half), table.slice(half))):
        with pa.ipc.new_stream(str(folder / f"data-0000{i}-of-00002.arrow"), table.schema) as out:
            out.write_table(part)
    listed = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed, "_indices_data_files": None, **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))


def test_a_saved_dataset_is_read_with_the_names_of_its_classes_and_the_bytes_of_its_pictures(tmp_path):
    table = pa.table({"text": ["a", "b", "c"], "image": [{"bytes": b"x", "path": "p"}] * 3, "label": [1, 0, -1]})
    saved(tmp_path / "d", table, {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}})
    found = read("hf://d", tmp_path)
    assert found.table.to_pydict() == {"text": ["a", "b", "c"], "image": [b"x"] * 3, "label": ["pos", "neg", None]}
    assert sum(b.table.num_rows for b in batches("hf://d", DataConfig(source="x"), tmp_path)) == 3


def test_splits_are_named_and_faults_say_what_to_do(tmp_path):
    table = pa.table({"x": [1, 2], "label": ["a", "b"]})
    saved(tmp_path / "d/train", table)
    (tmp_path / "d/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="hf://d/train, hf://d/test"):
        read("hf://d", tmp_path)
    assert read("hf://d/train", tmp_path).table.num_rows == 2
    saved(tmp_path / "i", table, _indices_data_files=[{"filename": "indices.arrow"}])
    saved(tmp_path / "o", table, _data_files=[{"filename": "../d/train/state.json"}])
    saved(tmp_path / "b", table)
    (tmp_path / "b/data-00001-of-00002.arrow").write_bytes(b"no")
    for uri, said in (
        ("hf://i", "flatten_indices"),
        ("hf://o", "outside"),
        ("hf://b", "no readable Arrow"),
        ("hf://me/it", "load_dataset"),
    ):
        with pytest.raises(DataError, match=said):
            read(uri, tmp_path)
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match="save_to_disk"):
        read("hf://e", tmp_path)


def test_dvc_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dvc", None)
    with pytest.raises(MissingExtra, match="pip install dvc"):
        read("dvc://data/rows.csv", tmp_path)


@pytest.mark.parametrize("uri", ["dvc://", "dvc:///etc/rows.csv", "dvc://../rows.csv", "dvc://rows.csv?branch=x"])
def test_an_address_of_dvc_names_a_path_of_the_repository(uri, tmp_path):
    with pytest.raises(DataError, match="rev=v1"):
        read(uri, tmp_path)


def test_dvc_is_asked_for_the_revision_that_is_named(tmp_path, monkeypatch):
    asked = []

    class DVCFileSystem:
        """The part of DVC's API that is used, over a folder: https://dvc.org/doc/api-reference/dvcfilesystem."""

        def __init__(self, repo, rev=None):
            asked.append((repo, rev))
            self.root = Path(repo)

        def isdir(self, path):
            return (self.root / path).is_dir()

        def get(self, path, target, recursive=False):
            if not (self.root / path).exists():
                raise FileNotFoundError(path)
            shutil.copy(self.root / path, target)

    api = types.ModuleType("dvc.api")
    api.DVCFileSystem = DVCFileSystem
    monkeypatch.setitem(sys.modules, "dvc", types.ModuleType("dvc"))
    monkeypatch.setitem(sys.modules, "dvc.api", api)
    (tmp_path / "rows.csv").write_bytes(ROWS)
    found = read("dvc://rows.csv?rev=v1.2", tmp_path)
    assert found.table.num_rows == 3 and asked == [(str(tmp_path), "v1.2")]
    assert found.parts[0][0] == "dvc://rows.csv?rev=v1.2"
    with pytest.raises(DataError, match="dvc get"):
        read("dvc://no.csv", tmp_path)
