"""`sluice init` and `sluice schema`."""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.cli import show_json
from sluice.core import files
from sluice.core.errors import ProjectError
from sluice.core.home import explain_os_error
from sluice.project import parse, read_text, schema
from sluice.tasks.base import TASKS

if TYPE_CHECKING:
    from sluice.data.look import Look
    from sluice.llm.items import Items


def template(task: str) -> Path:
    """The folder of the project that a task's `starter` names.

    Args:
        task: a registered name, or ``module:Class``.

    Raises:
        ProjectError: there is no such task, it names none, or its folder is not there.
    """
    kind = TASKS.get(task, field="--task")
    starter = vars(kind).get("starter")  # one that is derived from another task brings its own, or none
    if starter is None:
        raise ProjectError("brings no project to start from", field="--task", value=task, fix=f"one of {', '.join(TASKS.built_in)}")
    package = Path(__file__).resolve().parents[1]
    beside = Path(sys.modules[kind.__module__].__file__ or "").resolve().parent
    for folder in (package / "templates" / starter, package.parent / "examples" / starter, beside / starter):
        if (folder / "sluice.yaml").is_file():
            return folder
    raise ProjectError("its project to start from is missing from this installation", field="--task", value=task, fix="install it again")


#: Folders of an example that a project of its own needs.
_COPIED = ("data", "prompts")


def init(args: argparse.Namespace) -> int:
    """Write a project of an example or of a file of the user's; 0. Raises `ProjectError` for words that do not go together."""
    if args.data is not None:
        return _of_data(args)
    if args.label is not None:
        raise ProjectError("is of a file of yours", field="--label", value=args.label, fix="name the file: --data FILE")
    if args.overrides:
        raise ProjectError("is of a file of yours", field="--set", value=args.overrides[0], fix="name the file: --data FILE")
    if args.task is None:
        raise ProjectError(
            "says neither which example nor which data",
            field="sluice init",
            fix=f"--data FILE for a project of your file, or --task {'|'.join(TASKS.built_in)}",
        )
    source, target = template(args.task), args.directory
    name = args.name or _label(target.resolve().name)
    _no_project_yet(target)
    text = re.sub(
        r"(?m)^name: .*$",
        lambda _: f'name: "{name}"' if name in ("true", "false", "null") else f"name: {name}",
        (source / "sluice.yaml").read_text(),
        count=1,
    )
    if '"' in name or "\n" in name:
        raise ProjectError("is no DNS label", field="--name", value=name, fix="lower-case letters, digits and dashes, a letter first")
    parse(read_text(text, "--name"), where="--name")
    try:
        for path in sorted(source.rglob("*")):
            inner = path.relative_to(source)
            if path.is_file() and inner.parts[0] in _COPIED:
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / inner)
        files.write_text(target / "sluice.yaml", text)
    except OSError as e:
        raise explain_os_error(e, target) from e
    if args.json:
        show_json({"project": str(target / "sluice.yaml"), "name": name, "task": args.task})
    else:
        print(f"wrote {target / 'sluice.yaml'}; next: sluice run {target / 'sluice.yaml'}")
    return 0


def _of_data(args: argparse.Namespace) -> int:
    """A project of a file: looked at, asked about where somebody can be asked, and written so that it runs as it stands."""
    from sluice.commands.starter import draft

    target, tasks = args.directory, TASKS.built_in
    _no_project_yet(target)
    if args.task is not None and args.task not in tasks:
        raise ProjectError("is none of the built-in tasks", field="--task", value=args.task, fix=f"one of {', '.join(tasks)}")
    named = _label(args.data.name.split(".")[0]) if target.resolve() == Path.cwd() else _label(target.resolve().name)
    name = args.name or named
    parse({"name": name, "task": "tabular", "data": {"source": "x"}}, where="--name")
    if args.task is not None and TASKS.get(args.task).labelled is False:
        return _of_rows(args, name)
    for task in [args.task] if args.task is not None else TASKS.built_in:
        if args.data.is_file() and (items := TASKS.get(task).items(args.data, args.label, sure=args.task is None)) is not None:
            return _of_items(args, name, task, items)
    ask = _ask if not args.json and sys.stdin.isatty() and sys.stderr.isatty() else None
    made = draft(args.data, target, name=name, task=args.task, label=args.label, ask=ask, said=args.overrides)
    text = made.text(f"sluice init --data {args.data}")
    try:
        files.write_text(target / "sluice.yaml", text)
    except OSError as e:
        raise explain_os_error(e, target) from e
    found = made.to_dict()
    if args.json:
        show_json({"project": str(target / "sluice.yaml"), "name": name, **found})
        return 0
    told = "no labels" if found["label"] is None else f"label {found['label']!r}"
    print(f"wrote {target / 'sluice.yaml'}: task {found['task']}, {told}, {found['rows']:,} rows")
    for column, why in made.left_out.items():
        print(f"  left out {column}: {why}")
    for note in made.notes:
        print(f"  {note}")
    print(f"next: sluice run {target / 'sluice.yaml'}")
    return 0


def _of_items(args: argparse.Namespace, name: str, task: str, items: Items) -> int:
    """A project of a prompt's items."""
    from sluice.commands import starter_prompt

    target, command = args.directory, f"sluice init --data {args.data}"
    written = starter_prompt.write(items, target, name=name, task=task, said=args.overrides, command=command)
    if args.json:
        found = {"golden": written.golden, "learnt": written.learnt, "variables": items.variables, "notes": written.notes}
        show_json({"project": str(target / "sluice.yaml"), "name": name, "task": task, **found})
        return 0
    print(f"wrote {target / 'sluice.yaml'}: task {task}, {written.golden:,} items to judge by, {written.learnt:,} to learn from")
    for note in written.notes:
        print(f"  {note}")
    print(starter_prompt.said_of(written, target))
    return 0


def _of_rows(args: argparse.Namespace, name: str) -> int:
    """A project of a file from whose rows the task makes labels itself."""
    from sluice.commands.starter_rows import draft_rows

    target = args.directory
    if args.label is not None:
        raise ProjectError("names no column: this task makes its labels itself", field="--label", value=args.label, fix="leave it out")
    command = f"sluice init --data {args.data} --task {args.task}"
    text, notes, rows = draft_rows(args.data, target, name=name, task=args.task, command=command, said=args.overrides)
    try:
        files.write_text(target / "sluice.yaml", text)
    except OSError as e:
        raise explain_os_error(e, target) from e
    if args.json:
        show_json({"project": str(target / "sluice.yaml"), "name": name, "task": args.task, "rows": rows, "notes": notes})
        return 0
    print(f"wrote {target / 'sluice.yaml'}: task {args.task}, {rows:,} rows")
    for note in notes:
        print(f"  {note}")
    print(f"next: sluice run {target / 'sluice.yaml'}")
    return 0


def _no_project_yet(target: Path) -> None:
    if (target / "sluice.yaml").exists():
        raise ProjectError("there is a project already", field=str(target / "sluice.yaml"), fix="name another directory")


def _ask(look: Look) -> str:
    """Which column is to be learnt; asked on a terminal."""
    names = [c.name for c in look.columns]
    likely = look.candidates()[:9] or names[:9]
    say = functools.partial(print, file=sys.stderr)
    say("Which column is to be learnt?")
    for i, name in enumerate(likely, 1):
        column = look.columns[names.index(name)]
        say(f"  {i}  {name}  ({column.kind}, {column.distinct} values, such as {column.example!r})")
    while True:
        print("number or name [1]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise ProjectError("nothing was chosen", field="--label", fix=f"name the column: --label {likely[0]}")
        answer = line.strip() or "1"
        if answer in names:
            return answer
        if answer.isdigit() and 1 <= int(answer) <= len(likely):
            return likely[int(answer) - 1]
        say(f"there is no {answer!r}")


def _label(text: str) -> str:
    """A DNS label made of a directory's name."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    label = label if label[:1].isalpha() else f"model-{label}".rstrip("-")
    return label[:40].rstrip("-")


def schema_(args: argparse.Namespace) -> int:
    """Print the JSON Schema of project files; 0."""
    show_json(schema())
    return 0
