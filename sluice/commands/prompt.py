"""`sluice prompt`: a project's prompt alone: its tests, for CI, and what it sends."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice import project as projects
from sluice.cli import show_json
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.llm.asking import Asker
from sluice.llm.cases import read_cases, run_cases
from sluice.llm.package import PromptPackage, located
from sluice.llm.retrieval import write_index
from sluice.tasks import load_task

#: By a variable's type, how its value is written on the command line; lists with | between their texts.
_READ: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "number": float,
    "boolean": lambda t: t == "true",
    "strings": lambda t: t.split("|"),
}


def test(args: argparse.Namespace) -> int:
    """0 when every test holds, 3 when one does not; 2 on a project or a file of tests that is wrong."""
    project, base = projects.load(args.project, args.overrides), args.project.resolve().parent
    if getattr(project.model, "tests", None) is None:
        raise ProjectError("names no tests", field="model.tests", fix="name a YAML file of cases beside sluice.yaml")
    cases = read_cases(base / project.model.tests)
    with tempfile.TemporaryDirectory(prefix="sluice-") as tmp:
        asker = Asker(_package(project, base, Path(tmp)), Home(args.home).root / "answers")
        try:
            found = [o.told() for o in run_cases(asker, cases)]
        finally:
            asker.close()
    held = all(f["holds"] for f in found)
    if args.json:
        show_json({"outcome": "pass" if held else "refused", "exit_code": 0 if held else 3, "tests": found, "calls": asker.calls})
    else:
        for f in found:
            print(f"  {'✔' if f['holds'] else '✘'} {f['name']}: {f['passed']} of {f['of']}")
            for wrong in f["failed"] if not f["holds"] else ():
                print(f"      {wrong['why']}: {wrong['answer'][:120]!r}")
    return 0 if held else 3


def show(args: argparse.Namespace) -> int:
    """0 when the messages were shown; nothing is asked. 2 on values that do not fit."""
    project, base = projects.load(args.project, args.overrides), args.project.resolve().parent
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sluice-") as tmp:
        package = _package(project, base, Path(tmp))
        for given in args.value:
            name, equals, text = given.partition("=")
            if not equals:
                raise ProjectError("is written NAME=TEXT", field="--value", value=given, fix="for example --value question=Why?")
            kind = package.prompt.variables[name].type if name in package.prompt.variables else "string"
            values[name] = _READ.get(kind, str)(text)
        asker = Asker(package)
        messages, passages = asker.messages(values)
        asker.close()
    if args.json:
        show_json({"outcome": "done", "messages": messages, "passages": [p.name for p in passages], "digest": package.prompt.digest})
    else:
        for m in messages:
            print(f"--- {m['role']}\n{m['content']}")
    return 0


def _package(project: Any, base: Path, root: Path) -> PromptPackage:
    """The prompt as it would be packaged, in a folder of its own."""
    task, model = load_task(project, base), project.model
    if not hasattr(task, "prompt"):
        raise ProjectError("has no prompt", field="task", value=project.task, fix="name a project of task: llm")
    if model.retrieval is not None:
        write_index(root, model.retrieval, base)
    return PromptPackage(root, task.prompt(), located(model.endpoint), model.budget, model.price, model.retrieval)
