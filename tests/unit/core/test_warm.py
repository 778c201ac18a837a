"""Work in forks of the warm process: as in a process of its own, whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.core.processes import wait_until
from sluice.core.warm import start
from sluice.core.warm.client import PLACE
from sluice.core.warm.start import Plan, Set, Warm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are used on Linux alone")

PLAN = Plan(
    program="work",
    shared=("sluice.core.errors", "no.such.module"),
    sets={"more": Set(("numpy",)), "most": Set(("colorsys",), on="more")},
    steps={"train": "more"},
)


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    """None is there that these could join; and an interrupt does what it does to a fresh process, also where a shell began the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as m:
        m.delenv(PLACE, raising=False)
        yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    made = Warm(PLAN)
    assert made.why is None
    yield made
    made.stop()


def run(warm: Warm, folder: Path, code: str, *args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """`code` as a module of its own in `folder`, by the warm process's interpreter."""
    with started(warm, folder, code, *args, **kwargs) as process:
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def started(warm: Warm, folder: Path, code: str, *args: str, env: dict[str, str] | None = None, **kwargs: object) -> subprocess.Popen[str]:
    (folder / "work.py").write_text(code)
    return subprocess.Popen(
        [warm.interpreter, "-m", "work", *args],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", PLACE: str(warm._place), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,  # type: ignore[call-overload]
    )


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


class TestWhatAForkIs:
    def test_it_runs_the_module_as_main_with_its_arguments_folder_and_environment(self, warm: Warm, tmp_path: Path) -> None:
        code = "import sys, os, json; print(json.dumps([__name__, sys.argv, os.getcwd(), os.environ['X'], sys.path[0]]))"
        done = run(warm, tmp_path, code, "a b", "--c", "é\n", env={"X": "1"})
        name, argv, cwd, x, path = json.loads(done.stdout)
        assert (done.returncode, done.stderr) == (0, "")
        assert (name, argv[1:], cwd, x, path) == ("__main__", ["a b", "--c", "é\n"], str(tmp_path), "1", str(tmp_path))
        assert argv[0] == str(tmp_path / "work.py")

    def test_its_streams_are_those_it_was_given(self, warm: Warm, tmp_path: Path) -> None:
        code = "import sys; print(sys.stdin.read()[::-1]); print('e', file=sys.stderr)"
        with started(warm, tmp_path, code, stdin=subprocess.PIPE) as process:
            out, err = process.communicate("abc", timeout=120)
        assert (out, err) == ("cba\n", "e\n")

    def test_what_it_says_is_written_in_the_order_it_was_said_where_python_is_told_not_to_buffer(self, warm: Warm, tmp_path: Path) -> None:
        code = "import os\nfor i in range(3):\n print(i)\n os.write(1, b'x\\n')"
        assert run(warm, tmp_path, code, env={"PYTHONUNBUFFERED": "1"}).stdout == "0\nx\n1\nx\n2\nx\n"

    def test_it_has_imported_what_its_set_says_and_is_one_thread(self, warm: Warm, tmp_path: Path) -> None:
        code = "import sys, os; print('numpy' in sys.modules, 'sluice.core.errors' in sys.modules, len(os.listdir('/proc/self/task')))"
        assert run(warm, tmp_path, code).stdout.split() == ["False", "True", "1"]
        assert run(warm, tmp_path, code, "--function_to_execute", "train").stdout.split() == ["True", "True", "1"]

    def test_a_set_on_another_has_what_that_imported(self, warm: Warm, tmp_path: Path) -> None:
        code = "import sys; print({'numpy', 'colorsys', 'sluice.core.errors'} <= set(sys.modules))"
        (tmp_path / "work.py").write_text(code)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
        with warm.in_use():
            assert start.run("most", "work", [], said=b"", env=env, timeout=60).stdout == b"True\n"

    def test_each_draws_its_own_random_numbers(self, warm: Warm, tmp_path: Path) -> None:
        code = "import random, numpy; print(random.random(), numpy.random.random())"
        seen = [run(warm, tmp_path, code, "--function_to_execute", "train").stdout.split() for _ in range(2)]
        assert seen[0][0] != seen[1][0]
        assert seen[0][1] != seen[1][1]

    def test_signals_do_in_it_what_they_do_in_a_fresh_process(self, warm: Warm, tmp_path: Path) -> None:
        code = (
            "import signal; print(signal.getsignal(2) is signal.default_int_handler, signal.getsignal(15).name, signal.getsignal(17).name)"
        )
        assert run(warm, tmp_path, code).stdout.split() == ["True", "SIG_DFL", "SIG_DFL"]

    def test_it_computes_in_as_many_threads_as_its_environment_says(
        self, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GOTO_NUM_THREADS"):
            monkeypatch.delenv(variable, raising=False)  # whatever another test of this process left
        code = "import numpy, threadpoolctl; print({i['num_threads'] for i in threadpoolctl.threadpool_info() if i['user_api'] == 'blas'})"
        name = ("--function_to_execute", "train")
        assert run(warm, tmp_path, code, *name).stdout == "{1}\n"
        assert run(warm, tmp_path, code, *name, env={"OMP_NUM_THREADS": "2"}).stdout == "{2}\n"
        assert run(warm, tmp_path, code, *name, env={"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}).stdout == "{1}\n"

    def test_it_holds_no_descriptor_of_the_server(self, warm: Warm, tmp_path: Path) -> None:
        code = "import os; print([os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd') if int(f) > 2 and os.path.exists(f'/proc/self/fd/{f}')])"
        with started(warm, tmp_path, "import time; time.sleep(60)") as other:  # a neighbour, whose descriptors the server holds
            said = run(warm, tmp_path, code).stdout
            other.kill()
        assert "socket" not in said
        assert "pidfd" not in said


class TestHowAForkEnds:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("pass", 0),
            ("import os; os._exit(7)", 7),
            ("import sys; sys.exit(3)", 3),
            ("import os; os.kill(os.getpid(), 9)", -9),
            ("import os; os.kill(os.getpid(), 15)", -15),
            ("import os; os.abort()", -6),
            ("raise ValueError('no')", 1),
        ],
    )
    def test_its_status_is_that_of_a_process_of_its_own_and_the_next_begins_as_ever(
        self, warm: Warm, tmp_path: Path, code: str, status: int
    ) -> None:
        assert run(warm, tmp_path, code).returncode == status
        assert run(warm, tmp_path, "print('well')").stdout == "well\n"

    def test_a_traceback_is_that_of_a_process_of_its_own(self, warm: Warm, tmp_path: Path) -> None:
        said = run(warm, tmp_path, "def f():\n    raise ValueError('no')\nf()").stderr
        plain = subprocess.run([sys.executable, "-m", "work"], cwd=tmp_path, capture_output=True, text=True, check=False).stderr
        ours = [line for line in plain.split("\n") if "runpy" not in line]
        assert said.split("\n") == ours

    def test_what_is_registered_at_exit_runs(self, warm: Warm, tmp_path: Path) -> None:
        assert run(warm, tmp_path, "import atexit; atexit.register(print, 'bye')").stdout == "bye\n"

    def test_it_ends_when_its_client_is_killed(self, warm: Warm, tmp_path: Path) -> None:
        with started(warm, tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            process.kill()
        wait_until(lambda: gone(pid), what="the work", seconds=60)

    def test_sigterm_to_its_client_reaches_it(self, warm: Warm, tmp_path: Path) -> None:
        code = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(5))\nprint('on', flush=True)\ntime.sleep(600)"
        with started(warm, tmp_path, code) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.terminate()
            assert process.wait(60) == 5

    def test_an_interrupt_at_the_terminal_reaches_it_and_not_the_server(self, tmp_path: Path) -> None:
        code = """
import os, signal, subprocess, sys, time
from sluice.core.warm.start import Plan, Warm
warm = Warm(Plan("work", shared=()))
with warm.in_use():
    try:
        process = subprocess.Popen([sys.executable, "-m", "work"], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        signal.signal(2, signal.SIG_IGN)
        os.killpg(0, 2)
        print(process.stdout.read(), process.wait(60), flush=True)
        print(subprocess.run([sys.executable, "-c", "print('here')"], capture_output=True, text=True).stdout, flush=True)
    finally:
        warm.stop()
"""
        (tmp_path / "work.py").write_text(
            "import time\ntry:\n print('on', flush=True)\n time.sleep(600)\nexcept KeyboardInterrupt:\n print('interrupted')\n"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(start.__file__).parents[3])])}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            start_new_session=True,
            check=False,
        )
        assert done.stdout.split() == ["interrupted", "0", "here"], done.stderr


class TestTheServer:
    def test_everything_ends_with_who_started_it(self, tmp_path: Path) -> None:
        code = """
import os, subprocess, sys, time
from sluice.core.warm.start import Plan, Warm
warm = Warm(Plan("work", shared=()))
with warm.in_use():
    process = subprocess.Popen([sys.executable, "-m", "work"], stdout=subprocess.PIPE, text=True)
    print(process.stdout.readline().strip(), warm._process.pid, warm._place, flush=True)
    time.sleep(600)
"""
        (tmp_path / "work.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
        env = {**os.environ, "PYTHONPATH": str(Path(start.__file__).parents[3])}
        with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as runner:
            assert runner.stdout is not None
            work, server, _ = runner.stdout.readline().split()
            assert not gone(int(work))
            runner.kill()
        wait_until(lambda: gone(int(work)) and gone(int(server)), what="both", seconds=60)

    def test_stopped_it_leaves_nothing(self, tmp_path: Path) -> None:
        warm = Warm(Plan("work", shared=()))
        with started(warm, tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            warm.stop()
            assert process.wait(60) == 1
            assert process.stderr is not None
            assert "the warm process ended" in process.stderr.read()
        wait_until(lambda: gone(pid), what="the work", seconds=60)
        assert warm._place is not None
        assert not warm._place.exists()

    def test_stopped_it_has_waited_for_its_sets(self, tmp_path: Path) -> None:
        warm = Warm(Plan("work", shared=(), sets={"more": Set(()), "most": Set((), on="more")}))
        assert warm._process is not None
        with warm.in_use():  # answered, so all sets are there
            (tmp_path / "work.py").write_text("")
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
            assert start.run("most", "work", [], said=b"", env=env, timeout=60).returncode == 0
        below = subprocess.run(["pgrep", "-P", str(warm._process.pid)], capture_output=True, text=True, check=True).stdout.split()
        assert len(below) == 1
        warm.stop()
        assert warm._process.returncode == 0
        assert not Path("/proc", below[0]).exists()

    def test_where_importing_has_started_a_thread_each_is_a_plain_process_and_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "threaded.py").write_text(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        )
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *filter(None, [before])])
        try:
            warm = Warm(Plan("work", shared=("threaded",)))
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
        try:
            done = run(warm, tmp_path, "import sys; print('threaded' in sys.modules); sys.exit(4)")
        finally:
            warm.stop()
        assert (done.returncode, done.stdout) == (4, "False\n")
        assert "a plain process, the warm one was not to be had: importing has started threads" in done.stderr

    def test_a_server_that_is_gone_makes_plain_processes(self, tmp_path: Path) -> None:
        warm = Warm(Plan("work", shared=()))
        assert warm._process is not None
        run(warm, tmp_path, "pass")
        warm._process.kill()
        warm._process.wait()
        done = run(warm, tmp_path, "print('well')")
        warm.stop()
        assert done.stdout == "well\n"
        assert "a plain process" in done.stderr

    def test_of_another_module_or_of_code_its_interpreter_makes_a_plain_process(self, warm: Warm, tmp_path: Path) -> None:
        env = {**os.environ, PLACE: str(warm._place)}
        for command in (["-m", "this"], ["-c", "print('Beautiful')"], ["-I", "-c", "print('Beautiful')"]):
            done = subprocess.run([warm.interpreter, *command], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr, "Beautiful" in done.stdout) == (0, "", True)

    def test_one_that_is_there_already_is_joined_and_left_as_it_was(
        self, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(PLACE, str(warm._place))
        mine = Warm(Plan("other", shared=()))
        assert (mine.why, mine.interpreter, mine._process) == (None, warm.interpreter, None)
        with mine.in_use():
            assert (sys.executable, os.environ[PLACE]) == (warm.interpreter, str(warm._place))
        mine.stop()
        assert run(warm, tmp_path, "print('well')").stdout == "well\n"

    def test_a_place_where_nobody_is_is_not_joined(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PLACE, str(tmp_path))
        mine = Warm(PLAN)
        assert mine.why is None and mine._process is not None and Path(mine.interpreter).parent != tmp_path
        mine.stop()

    def test_it_can_be_switched_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(start.SWITCH, "0")
        warm = Warm(PLAN)
        assert warm.why == "SLUICE_WARM_STEPS is 0"
        executable = sys.executable
        with warm.in_use():
            assert sys.executable == executable
            assert PLACE not in os.environ


class TestWorkBegunHere:
    def begin(self, warm: Warm, folder: Path, code: str, **kwargs: object) -> start.Process:
        if not (folder / "work.py").exists():  # the others may be reading it
            (folder / "work.py").write_text(code)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
        with warm.in_use():
            process = start.begin("more", "work", [], log=folder / "log.txt", env=env, **kwargs)  # type: ignore[arg-type]
        assert process is not None
        return process

    def test_it_shows_as_a_child_does(self, warm: Warm, tmp_path: Path) -> None:
        process = self.begin(warm, tmp_path, "import sys; print('said'); sys.exit(6)")
        assert process.wait(60) == process.poll() == 6
        assert (tmp_path / "log.txt").read_text() == "said\n"

    def test_it_is_waited_for_in_bounds_and_ended(self, warm: Warm, tmp_path: Path) -> None:
        process = self.begin(warm, tmp_path, "import time; time.sleep(600)")
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        process.kill()  # of one that has ended: nothing

    def test_it_has_the_descriptors_it_was_given_under_their_numbers(self, warm: Warm, tmp_path: Path) -> None:
        read, write = os.pipe()
        process = self.begin(warm, tmp_path, f"import os; os.write({write}, b'told')", pass_fds=(write,))
        os.close(write)
        assert process.wait(60) == 0
        assert os.read(read, 100) == b"told"
        assert os.read(read, 100) == b"", "the warm process keeps none of them open"
        os.close(read)

    def test_it_gets_the_signal_it_asked_for_when_this_end_is_closed(self, warm: Warm, tmp_path: Path) -> None:
        code = "import signal, time, pathlib\nsignal.signal(15, lambda *_: pathlib.Path('told').write_text('yes') and exit())\npathlib.Path('on').touch()\ntime.sleep(600)"
        cwd = Path.cwd()
        os.chdir(tmp_path)
        try:
            process = self.begin(warm, tmp_path, code, orphan=signal.SIGTERM)
        finally:
            os.chdir(cwd)
        wait_until((tmp_path / "on").exists, what="its start", seconds=60)
        process._connection.close()
        wait_until(lambda: gone(process.pid) and (tmp_path / "told").exists(), what="its end", seconds=60)

    def test_many_at_once(self, warm: Warm, tmp_path: Path) -> None:
        code = "import os, sys, time; time.sleep(0.2); sys.exit(os.getpid() % 100)"
        many = [self.begin(warm, tmp_path, code) for _ in range(12)]
        assert [p.wait(120) for p in many] == [p.pid % 100 for p in many]


class TestARunToItsEnd:
    CODE = "import sys, time; print(sys.stdin.read()); print('e', file=sys.stderr); time.sleep(float(sys.argv[1])); sys.exit(3)"

    @pytest.mark.parametrize("is_warm", [True, False])
    def test_it_is_as_subprocess_runs_it(self, warm: Warm, tmp_path: Path, is_warm: bool) -> None:
        (tmp_path / "work.py").write_text(self.CODE)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
        with warm.in_use() if is_warm else contextlib.nullcontext():
            done = start.run("more", "work", ["0"], said=b"asked", env=env, timeout=60)
            assert (done.returncode, done.stdout, done.stderr) == (3, b"asked\n", b"e\n")
            with pytest.raises(subprocess.TimeoutExpired):
                start.run("more", "work", ["600"], said=b"", env=env, timeout=0.5)
