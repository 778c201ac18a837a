"""The commented sluice.yaml of a draft."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sluice.core import yamlfile
from sluice.data.report import Report, counted, listed
from sluice.fields import field_of
from sluice.problems.problem import problem
from sluice.project import read_text
from sluice.report.svg import cut

if TYPE_CHECKING:
    from sluice.commands.draft import Draft

_WIDTH = 44


class Writer:
    """The text of a project file, a comment beside what was found out."""

    def __init__(self, made: Draft):
        self._made, self._lines = made, list[str]()

    def text(self, command: str) -> str:
        """The whole file. `command` made it."""
        made, raw = self._made, self._made.raw
        report, data = made.report, raw["data"]
        assert report is not None
        rows = report.rows["train"]
        self._note(
            0,
            f"Written by `{command}` from {counted(rows, 'row')}"
            + (f" of {counted(len(made.look.columns), 'column')}" if made.look else "")
            + "; `sluice schema` lists every key.",
        )
        self._add(0, f"name: {_scalar(raw['name'])}")
        self._add(0, f"task: {raw['task']}", f"learns {_learnt(report)}from {counted(len(report.columns) - 1, 'feature')}")
        self._add(0, "data:")
        for key, value in data.items():
            if key == "columns":
                self._columns(value, report)
            elif key != "checks":
                self._add(
                    1,
                    f"{key}: {_scalar(value)}",
                    {
                        "encoding": "as the bytes look: see that letters are right",
                        "header": "the first line looks like a row",
                        "split": None if data.get("split", {}).get("by") else "with the usual seed a label would have no training row",
                    }.get(key),
                )
        times = [c["name"] for c in report.columns if field_of(c["type"], c["name"]).timed] or (made.look.of("date") if made.look else [])
        if times and "split" not in data and "group" in problem(report.objective).splits:  # else the task divides them by time anyway
            self._note(
                1,
                f"split: {{by: time, column: {_scalar(times[0])}}}   # instead, if the model is asked about days to come: the newest rows are held out",
            )
        self._add(1, "checks:", "a run that breaks these is refused before any training")
        for key, value in data["checks"].items():
            self._add(2, f"{key}: {_scalar(value)}")
        if "model" in raw:
            self._add(0, f"model: {_scalar(raw['model'])}", made.proposal)
        elif made.proposal:
            self._note(0, made.proposal)
        self._evaluate(report)
        for note in made.notes:
            self._note(0, note)
        text = "\n".join(self._lines) + "\n"
        assert read_text(text, "sluice.yaml") == raw, "what is written is what was checked"
        return text

    def _evaluate(self, report: Report) -> None:
        """What decides, and sections that a person said."""
        raw = self._made.raw
        evaluate: Mapping[str, Any] = raw.get("evaluate", {})
        if "metric" in evaluate and report.labels:
            rare, common = (list(report.labels.items())[i] for i in (-1, 0))
            self._add(0, "evaluate:")
            self._add(
                1,
                f"metric: {evaluate['metric']}",
                f"{rare[0]} has {rare[1]:,} rows, {common[0]} {common[1]:,}: accuracy would hide how the rare ones do",
            )
            if "decision" in evaluate:
                self._add(1, f"decision: {_scalar(evaluate['decision'])}", f"the probability from which {rare[0]} is answered")
            for key, value in evaluate.items():
                if key not in ("metric", "decision"):
                    self._add(1, f"{key}: {_scalar(value)}")
        elif evaluate:
            told = "the score from which a row is answered so is chosen on the validation labels" if "decision" in evaluate else None
            self._add(0, f"evaluate: {_scalar(evaluate)}", told)
        for key, value in raw.items():
            if key not in ("name", "task", "data", "model", "evaluate"):
                self._add(0, f"{key}: {_scalar(value)}")

    def _columns(self, columns: Mapping[str, Any], report: Report) -> None:
        reasons = {"ignore": self._made.left_out, "categorical": self._made.categorical}
        self._add(1, "columns:")
        for key, value in columns.items():
            if key in reasons:
                self._add(2, f"{key}:")
                for name in value:
                    self._add(3, f"- {_scalar(name)}", reasons[key][name])
            elif key == "label":
                shown = [f"{cut(k, 60)} {n:,}" for k, n in report.labels.items()]
                self._add(2, f"label: {_scalar(value)}", listed(shown) if shown else _learnt(report).strip() or None)
            else:
                self._add(2, f"{key}: {_scalar(value)}")

    def _add(self, depth: int, text: str, comment: str | None = None) -> None:
        line = "  " * depth + text
        self._lines.append(f"{line:{_WIDTH}}  # {_one_line(comment)}" if comment else line)

    def _note(self, depth: int, text: str) -> None:
        self._lines.append(f"{'  ' * depth}# {_one_line(text)}")


def _learnt(report: Report) -> str:
    """What a label is, with a space behind it; empty where its task alone could say."""
    asked = problem(report.objective)
    if report.labels:
        return f"a class out of {len(report.labels)} "
    return "a quantity " if asked.scalar else "any of several labels " if asked.independent else ""


def _one_line(text: str) -> str:
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+", " ", text)


def _scalar(value: Any) -> str:
    """A value in YAML, on one line."""
    text = yamlfile.dump(list(value) if isinstance(value, tuple) else value, flow=True, width=1 << 20)
    return text.removesuffix("\n").removesuffix("\n...")
