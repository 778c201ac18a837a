"""A value on one line: what is read back is what was written, with few quotes, and no tag of a template."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sluice.core import files, yamlfile

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_the_line_means_what_it_was_made_of(value: dict[str, Any]) -> None:
    line = yamlfile.line(value)
    assert "\n" not in line and "{{" not in line
    assert files.canonical_json(yamlfile.load(line, "line")) == files.canonical_json(value)


def test_a_project_needs_hardly_a_quote() -> None:
    line = yamlfile.line({"name": "x", "data": {"source": "s3://b/x.csv"}, "train": {"epochs": 5, "lr": 1e-7}, "on": "no", "v": "1.0"})
    assert line == "{data: {source: 's3://b/x.csv'}, name: x, 'on': 'no', train: {epochs: 5, lr: 1.0e-07}, v: '1.0'}"


def test_a_template_is_escaped_where_json_can() -> None:
    assert yamlfile.line({"prompt": "say {{name}}"}) == '{"prompt":"say \\u007b{name}}"}'
