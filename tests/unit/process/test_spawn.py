"""Children: started without code of ours between fork and exec, ended with their parent, and named when they cannot be started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sluice.core.errors import SluiceError
from sluice.core.processes import spawn, stop


def run(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_no_fork_handler_of_the_parent_runs_in_a_child() -> None:
    """A library's handler (gRPC's) that aborts or waits for another thread's lock would end the child before its program begins."""
    parent = run("""
        import os, sys
        from sluice.core.processes import spawn
        os.register_at_fork(after_in_child=lambda: os._exit(99))
        print(spawn([sys.executable, "-c", "raise SystemExit(7)"]).wait(30))
    """)
    assert parent.communicate(timeout=60)[0] == "7\n"


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = run("""
        import time
        from sluice.core.processes import spawn
        print(spawn(["sleep", "60"]).pid, flush=True)
        time.sleep(60)
    """)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    end = time.monotonic() + 20
    while b"sleep" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:  # its interpreter first
        assert time.monotonic() < end
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    while alive(child):
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.02)


def test_a_child_has_its_environment_its_descriptors_and_its_own_name(tmp_path: Path) -> None:
    read, write = os.pipe()
    code = "import os,sys; os.write(int(os.environ['TO']), f'{os.environ[\"PYTHONPATH\"]} {sys.argv[1]}'.encode())"
    process = spawn(
        [sys.executable, "-c", code, "a b"],
        log=tmp_path / "log",
        env={**os.environ, "TO": str(write), "PYTHONPATH": "/nowhere"},
        pass_fds=(write,),
    )
    os.close(write)
    with os.fdopen(read) as f:
        assert f.read() == "/nowhere a b"
    assert process.wait(30) == 0 and (tmp_path / "log").read_text() == ""


def test_a_signal_meets_the_program_itself() -> None:
    process = spawn([sys.executable, "-c", "import signal,sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); signal.pause()"])
    end = time.monotonic() + 30
    while not int(Path(f"/proc/{process.pid}/status").read_text().partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert stop(process) == 5


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(SluiceError, match="no such program"):
        spawn(["no-such-program-anywhere", "x"])
