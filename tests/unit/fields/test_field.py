"""What a field of each kind says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError
from sluice.fields import FIELDS, Field, field_of, fields_of

#: kind: arrow type, what it is, its type in a signature, values of which the last two are missing.
KINDS = {
    "numeric": (pa.float64(), {"quantity"}, "double", [1.0, None, None]),
    "categorical": (pa.string(), {"category"}, "string", [" ", None, None]),
    "timestamp": (pa.timestamp("us"), set(), "string", [0, None, None]),
    "text": (pa.string(), {"row"}, "string", ["a b", " \t", None]),
    "image": (pa.binary(), {"row", "blob"}, "binary", [b"", None, None]),
    "audio": (None, {"row", "blob"}, "binary", [b"", None, None]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_is(kind: str) -> None:
    arrow, flags, column_type, values = KINDS[kind]
    field = field_of(kind, "x")
    assert (field.kind, field.name, field.arrow, field.column_type) == (kind, "x", arrow, column_type)
    assert {flag for flag in ("quantity", "category", "blob", "row") if getattr(field, flag)} == flags
    assert field.missing(pa.chunked_array([pa.array(values, arrow or pa.binary())])).to_pylist() == [False, True, True]


def test_the_table_above_has_every_kind_there_is() -> None:
    assert set(FIELDS.names()) == set(KINDS)


def test_rows_are_left_out_where_what_they_are_is_missing() -> None:
    """A model answers a row without an age, but none without the text it is about."""
    assert {k: field_of(k, "x").lacks for k in KINDS} == {
        "numeric": "",
        "categorical": "",
        "timestamp": "",
        "text": "no text (null or blank)",
        "image": "no image (null)",
        "audio": "no recording (null)",
    }


def test_a_kind_that_a_task_made_up_is_kept_as_it_is() -> None:
    field = field_of("molecule", "x")
    assert (type(field), field.kind, field.arrow, field.checks) == (Field, "molecule", None, frozenset())
    assert field_of("graph", "y").kind == "graph"
    assert field.kind == "molecule"


def test_a_kind_of_the_users_own_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_molecules.py").write_text(
        "from sluice.fields import Field\n\n\nclass Molecule(Field):\n    kind = 'my_molecules:Molecule'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = fields_of({"x": "my_molecules:Molecule", "y": "numeric"})
    assert [type(f).__name__ for f in made.values()] == ["Molecule", "Number"]


@pytest.mark.parametrize("kind", ["no_such_module:Molecule", "json:Molecule"])
def test_a_class_that_is_not_there_is_an_error(kind: str) -> None:
    with pytest.raises(ProjectError, match=r"cannot import|has no Molecule"):
        field_of(kind, "x")


def test_the_wire_needs_no_arrow(run_python: Callable[[str], str]) -> None:
    """A server that keeps no log answers without pyarrow."""
    assert run_python("import sys, sluice.fields; sluice.fields.field_of('text', 'x'); print('pyarrow' in sys.modules)") == "False"
