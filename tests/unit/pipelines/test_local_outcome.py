"""What a local run came to, told from its gates, its error and its log."""

from __future__ import annotations

import contextlib
import io

import pytest

from pipelines.local import _Sink
from sluice.client.display import Display
from sluice.core import events
from sluice.core.gate import Gate
from sluice.steps.outcome import conclude, last_exception

UP_TO_TRAIN = [Gate(s, "pass") for s in ("validate_data", "preprocess", "train")]
ROLLED = {"outcome": "rolled_back", "digest": "a", "version": "2"}


@pytest.mark.parametrize(
    ("gates", "failure", "outcome", "code"),
    [
        ([], None, "failed", 1),
        (UP_TO_TRAIN, None, "failed", 1),
        ([*UP_TO_TRAIN, Gate("evaluate", "inconclusive", ("too few rows",))], None, "failed", 1),
        ([*UP_TO_TRAIN, Gate("evaluate", "refuse", ("too low",))], None, "refused", 3),
        ([Gate("validate_data", "refuse", ("bad",))], None, "refused", 3),
        ([*UP_TO_TRAIN, Gate("rollout", "refuse", ("slow",), ROLLED)], None, "rolled_back", 4),
        ([*UP_TO_TRAIN, Gate("rollout", "pass", (), {**ROLLED, "outcome": "promoted"})], None, "promoted", 0),
        ([], {"message": "no such file", "exit_code": 2}, "failed", 2),
    ],
)
def test_every_end_has_its_outcome_and_status(gates: list[Gate], failure: dict | None, outcome: str, code: int) -> None:
    found = conclude(gates, failure, "MemoryError: boom")
    assert (found["outcome"], found["exit_code"]) == (outcome, code)
    if outcome == "failed" and failure is None:
        assert "MemoryError: boom" in found["error"]["message"]


def test_the_last_exception_is_found_in_a_log() -> None:
    log = "x\n    ValueError: first\nTraceback\n    kfp.Thing.Error: not this: either\n    ImportError: No module named 'x'\nbye\n"
    assert last_exception(log) == "ImportError: No module named 'x'"
    assert last_exception("all is well") == ""


def test_events_reach_the_display_and_everything_else_the_log() -> None:
    log, shown = io.StringIO(), io.StringIO()
    sink = _Sink(log, Display(stream=shown), "n")
    sink.write('hello\n\n::sluice:n::{"kind":"gate","step":"train","decision":"pass","seconds":1.5,"reasons":["ep')
    sink.write('och 3 kept"]}\nrest\n\n::sluice:n::not json\n')
    assert "epoch 3 kept" in shown.getvalue()
    assert log.getvalue() == "hello\nrest\n\n::sluice:n::not json\n"
    assert [e["kind"] for e in sink.events] == ["gate"]


@pytest.mark.parametrize(
    "mark",
    [
        "::sluice::",
        "::sluice:::",
        "::sluice:m::",
        " ::sluice:n::",
        "x::sluice:n::",
        "[rank 0] ::sluice:n::",
        "    ::sluice::",
        "     ::sluice:n::",
    ],
)
def test_a_line_that_a_task_prints_is_none_of_the_runs_events(mark: str) -> None:
    log, shown = io.StringIO(), io.StringIO()
    sink = _Sink(log, Display(stream=shown), "n")
    line = mark + '{"kind":"error","step":"train","message":"all is lost","exit_code":2}\n'
    sink.write(line)
    assert sink.events == [] and shown.getvalue() == "" and log.getvalue() == line


def test_without_a_nonce_nothing_is_an_event() -> None:
    assert events.parse('::sluice:::{"kind":"gate"}', "") is None and events.parse('::sluice::{"kind":"gate"}', "") is None


def test_a_line_that_only_ends_an_open_one_is_not_in_the_log_however_kfp_indents_it() -> None:
    log, shown = io.StringIO(), io.StringIO()
    sink = _Sink(log, Display(stream=shown), "n")
    sink.write('    half\n    \n    ::sluice:n::{"kind":"note","text":"seen"}\n    \n    rest\n')
    assert [e["kind"] for e in sink.events] == ["note"] and log.getvalue() == "    half\n\n    rest\n"


def test_a_gate_is_read_though_a_task_left_a_line_open(monkeypatch: pytest.MonkeyPatch) -> None:
    log, shown = io.StringIO(), io.StringIO()
    monkeypatch.setenv(events.NONCE_ENV, "n")
    with contextlib.redirect_stdout(sink := _Sink(log, Display(stream=shown), "n")):
        print("50 %", end="\r")
        events.emit("gate", step="train", decision="pass", seconds=1.0, reasons=["kept"])
    assert [e["kind"] for e in sink.events] == ["gate"] and log.getvalue() == "50 %\r\n"


def test_a_warning_and_a_stack_are_shown_however_soon_after_progress() -> None:
    shown = io.StringIO()
    display = Display(stream=shown)
    for data in (
        {"kind": "epoch", "epoch": 3, "train_loss": 0.5},
        {"kind": "step", "epoch": 4, "train_loss": 0.25},
        {"kind": "stack", "rank": 1, "step": 7, "text": "  File reduce.py, line 3\n"},
        {"kind": "warning", "text": "rank 1 [stuck]; starting again"},
    ):
        display.event({"kind": "progress", "step": "train", "data": data})
    text = shown.getvalue()
    assert "epoch 3" in text and "epoch 4" not in text
    assert "! train: rank 1 at step 7 stood at\n  File reduce.py, line 3\n  ! train: rank 1 [stuck]; starting again\n" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_bar_takes_nothing_that_the_steps_say(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal has a bar, a file none, though a notebook's kernel tells its children to colour whatever they write to."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(events.NONCE_ENV, "n")
    log, shown = io.StringIO(), stream()
    display = Display(stream=shown)
    with contextlib.redirect_stdout(_Sink(log, display, "n")):
        for epoch in (1, 2):
            events.emit("progress", step="train", data={"kind": "epoch", "epoch": epoch, "step": epoch, "steps": 2})
            print("something else")
    display.close()
    assert log.getvalue() == "something else\nsomething else\n" and "something else" not in shown.getvalue()
    assert "::sluice" not in shown.getvalue() and ("\x1b[?25l" in shown.getvalue()) == (stream is Terminal)


def test_an_event_is_heard_through_the_indentation_that_kfp_puts_before_each_line() -> None:
    nonce, log = "a" * 32, io.StringIO()
    sink = _Sink(log, Display(quiet=True), nonce)
    for line in (
        f'{events.mark(nonce)}{{"kind":"note","step":"train","text":"t"}}',
        '::sluice::{"kind":"note","step":"evaluate"}',
        f"     {events.mark(nonce)}{{}}",
    ):
        sink.write("    ")
        sink.write(line + "\n")
    assert [e["step"] for e in sink.events] == ["train"]
    assert "evaluate" in log.getvalue()
