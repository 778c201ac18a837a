"""Files are whole or absent, and equal values are equal bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core import files

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_does_not_depend_on_key_order(value: object) -> None:
    def turn(v: object) -> object:
        if isinstance(v, dict):
            return {k: turn(v[k]) for k in reversed(list(v))}
        return [turn(x) for x in v] if isinstance(v, list) else v

    assert files.canonical_json(value) == files.canonical_json(turn(value))


def test_a_failed_directory_leaves_nothing_and_keeps_the_old_one(tmp_path: Path) -> None:
    with files.new_dir(tmp_path / "d") as d:
        (d / "a").write_text("old")
    with pytest.raises(RuntimeError), files.new_dir(tmp_path / "d") as d:
        (d / "a").write_text("new")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert (tmp_path / "d" / "a").read_text() == "old"


def test_a_directory_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with files.new_dir(tmp_path / "d") as d:
            (d / text).write_text(text)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]


def test_the_sweep_leaves_what_a_live_process_is_writing(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        live, dead = tmp_path / f"{files.PARTIAL}a.0000-{child.pid}", tmp_path / f"{files.PARTIAL}b.0000-{2**22 + 1}"
        live.mkdir()
        dead.mkdir()
        assert files.sweep_partials(tmp_path) == 1
        assert live.exists()
        assert not dead.exists()
    finally:
        child.kill()
        child.wait()


def test_a_killed_writer_leaves_the_old_content_and_its_rest_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    files.write_json(target, {"n": -1})
    code = f"""
        import itertools
        from pathlib import Path
        from sluice.core import files
        for n in itertools.count():
            files.write_json(Path({str(target)!r}), {{"n": n, "pad": "x" * 200_000}})
    """
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
        before = target.stat().st_mtime_ns
        end = time.monotonic() + 30
        while target.stat().st_mtime_ns == before and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert files.read_json(target)["n"] >= 0
    files.sweep_partials(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
