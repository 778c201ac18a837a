"""What a field of each kind says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sluice.core.errors import InputError, PackageError, ProjectError
from sluice.data.config import Columns
from sluice.fields import FIELDS, ColumnField, Field, TabularProcessor, field_of, fields_of, load_processor, processor_class

#: Everything a field says with yes or no.
FLAGS = ("quantity", "category", "timed", "words", "waves", "blob", "plain", "listed")
#: kind: arrow type, flags, type in a signature, type in the log, whether a row can be it alone, values of which the last two are missing.
KINDS = {
    "numeric": (pa.float64(), {"quantity", "plain"}, "double", pa.float64(), False, [1.0, None, None]),
    "categorical": (pa.string(), {"category", "plain"}, "string", pa.string(), False, [" ", None, None]),
    "timestamp": (pa.timestamp("us"), {"plain", "timed"}, "string", pa.string(), False, [0, None, None]),
    "text": (pa.string(), {"words", "plain"}, "string", pa.string(), True, ["a b", " \t", None]),
    "pair": (pa.list_(pa.string()), set(), "array", pa.string(), True, [["a", "b"], ["a", " "], None]),
    "sentence": (pa.string(), {"words", "plain"}, "string", pa.string(), True, ["a b", " \t", None]),
    "image": (pa.binary(), {"blob", "listed"}, "binary", pa.binary(), True, [b"", None, None]),
    "audio": (None, {"blob", "waves", "listed"}, "binary", pa.binary(), True, [b"", None, None]),
    "sequence": (pa.list_(pa.float64()), set(), "any", pa.list_(pa.float64()), False, [[1.0], None, None]),
    "vector": (pa.list_(pa.float64()), set(), "array", pa.string(), False, [[1.0], None, None]),
    "names": (pa.list_(pa.string()), set(), "array", pa.string(), False, [["a"], None, None]),
    "words": (pa.string(), {"words", "plain"}, "string", pa.string(), False, ["a b", None, None]),
    "history": (pa.list_(pa.string()), set(), "array", pa.string(), False, [["a"], None, None]),
    "key": (pa.string(), {"plain"}, "string", pa.string(), False, ["a", None, None]),
    "seed": (pa.int64(), {"plain"}, "long", pa.int64(), False, [7, None, None]),
    "exemplar": (pa.binary(), {"blob", "listed"}, "binary", pa.binary(), False, [b"", None, None]),
    "pixels": (pa.list_(pa.list_(pa.list_(pa.uint8()))), set(), "array", pa.string(), False, [[[[1]]], None, None]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_is(kind: str) -> None:
    arrow, flags, column_type, logged, alone, values = KINDS[kind]
    field = field_of(kind, "x")
    assert (field.kind, field.name, field.arrow, field.column_type, field.logged) == (kind, "x", arrow, column_type, logged)
    assert {flag for flag in FLAGS if getattr(field, flag)} == flags
    assert (field.processor() is not None) == alone
    assert not (alone and isinstance(field, ColumnField))
    assert field.missing(pa.chunked_array([pa.array(values, arrow or pa.binary())])).to_pylist() == [False, True, True]


@pytest.mark.parametrize("kind", [k for k in KINDS if KINDS[k][4]])
def test_what_reads_rows_of_a_value_alone_is_found_by_the_fields_word(kind: str) -> None:
    processor = processor_class(kind)
    assert processor.kind == kind and processor.value is not None and processor.value.kind == kind
    assert processor.names({"kind": kind}) == [kind] and processor.blobs() == ("blob" in KINDS[kind][1])


def test_a_packages_word_is_never_imported_as_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PackageError, match="is not a kind of pre-processing"):
        processor_class({"kind": "evil:Field"})
    with pytest.raises(PackageError, match="must be numeric, categorical"):
        load_processor({"kind": "tabular", "columns": [{"name": "x", "type": "evil:Field"}]}, {})


@pytest.mark.parametrize(
    "column, datatype, inputs, values, read, logged",
    [
        ({"type": "numeric"}, "FP32", ["x"], ["?", 1, True, None], [[1.0, 1.0, None]], [1.0, 1.0, None]),
        ({"type": "numeric", "centre": 2.0**60}, "FP64", ["x"], ["?", 2**60 + 256], [[256.0]], [float(2**60 + 256)]),
        (
            {"type": "numeric", "numerals": {"decimal": ",", "thousands": "."}},
            "FP32",
            ["x"],
            ["many", "1.234,5", ""],
            [[1234.5, None]],
            [1234.5, None],
        ),
        (
            {"type": "categorical", "spelling": "boolean"},
            "BYTES",
            ["x"],
            [b"?", True, "FALSE", 1, " "],
            [["true", "false", "true", ""]],
            ["true", "false", "true", None],
        ),
        ({"type": "categorical", "spelling": "number"}, "BYTES", ["x"], [b"?", 1.0, "1.0", "1"], [["1", "1", "1"]], ["1", "1", "1"]),
        (
            {"type": "timestamp", "form": "iso", "reference": None, "parts": ["year", "hour"]},
            "BYTES",
            ["x.year", "x.hour", "x.hour_sin", "x.hour_cos"],
            ["soon", "2024-03-01T06:00", None],
            [[2024.0, None], ["6", ""], [1.0, None], [0.0, None]],
            ["2024-03-01T06:00:00", None],
        ),
    ],
)
def test_a_column_from_what_a_client_sends_to_the_graph_and_the_log(
    column: dict[str, Any], datatype: str, inputs: list[str], values: list[Any], read: list[list[Any]], logged: list[Any]
) -> None:
    """The first of the values is one that the column cannot use."""
    processor = load_processor({"kind": "tabular", "columns": [{"name": "x", **column}]}, {})
    assert isinstance(processor, TabularProcessor)
    assert processor.fields["x"].datatype == datatype and [t.name for t in processor.inputs] == inputs
    assert processor.spec()["columns"] == [
        {"name": "x", **column} | ({"numerals": {**column["numerals"], "unit": None}} if "numerals" in column else {})
    ]
    rows = [{"x": v} for v in values[1:]]
    for tensor, expected in zip(processor.encode_batch(rows).values(), read, strict=True):
        assert [v if isinstance(v, str) else None if v != v else round(v, 6) for v in tensor.ravel().tolist()] == expected
    assert [r["x"] for r in processor.plain(rows)] == logged
    with pytest.raises(InputError, match="x"):
        processor.encode_batch([{"x": values[0]}])


def test_the_table_above_has_every_kind_there_is() -> None:
    assert set(FIELDS.names()) == set(KINDS)


def test_rows_are_left_out_where_what_they_are_is_missing() -> None:
    """A model answers a row without an age, but none without the text it is about."""
    assert {k: field_of(k, "x").lacks for k in KINDS} == {
        "numeric": "",
        "categorical": "",
        "timestamp": "",
        "text": "no text (null or blank)",
        "pair": "no text (null or blank)",
        "sentence": "no text (null or blank)",
        "image": "no image (null)",
        "audio": "no recording (null)",
        "sequence": "",
        "vector": "",
        "names": "",
        "words": "",
        "history": "",
        "key": "",
        "seed": "no seed (null)",
        "exemplar": "no image (null)",
        "pixels": "no picture",
    }


def test_a_kind_that_a_task_made_up_is_kept_as_it_is() -> None:
    field = field_of("molecule", "x")
    assert (type(field), field.kind, field.arrow, field.checks) == (Field, "molecule", None, frozenset())
    assert field_of("graph", "y").kind == "graph"
    assert field.kind == "molecule"


def test_a_kind_of_the_users_own_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_molecules.py").write_text("from sluice.fields import Field\n\n\nclass Molecule(Field):\n    kind = 'molecule'\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = fields_of({"x": "my_molecules:Molecule", "y": "numeric"})
    assert [(type(f).__name__, f.kind) for f in made.values()] == [("Molecule", "my_molecules:Molecule"), ("Number", "numeric")]


@pytest.mark.parametrize("kind", ["no_such_module:Molecule", "json:Molecule"])
def test_a_class_that_is_not_there_is_an_error(kind: str) -> None:
    with pytest.raises(ProjectError, match=r"cannot import|has no Molecule"):
        field_of(kind, "x")


def test_the_wire_needs_no_arrow(run_python: Callable[[str], str]) -> None:
    """A server that keeps no log answers without pyarrow."""
    assert run_python("import sys, sluice.fields; sluice.fields.field_of('text', 'x'); print('pyarrow' in sys.modules)") == "False"


def test_the_column_of_a_value_alone_is_the_one_the_project_names_or_its_kind() -> None:
    columns = Columns(text="message", image="picture")
    assert [columns.of(field_of(kind, kind)) for kind in ("text", "image", "audio")] == ["message", "picture", "audio"]
    assert columns.of(field_of("of", "of")) == "of" and columns.of(field_of("numbers", "numbers")) == "numbers"
