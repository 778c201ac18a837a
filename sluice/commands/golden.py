"""`sluice golden add`: what users corrected goes through a review into the golden set."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sluice import project as projects
from sluice.cli import show_json
from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.core.home import Home
from sluice.llm.items import key_of
from sluice.llm.prompt import Prompt
from sluice.monitor.labels import Coverage, joined
from sluice.tasks import load_task

#: Candidates of one review, and bytes of a golden set that is grown.
_MOST, _LIMIT = 10_000, 256 << 20
#: Lines of what could not be read that are shown.
_SHOWN = 5


def add(args: argparse.Namespace) -> int:
    """0 when the review was written, or its accepted lines were taken; 2 on a project, a log or a review that cannot be used."""
    project = projects.load(args.project, args.overrides)
    base = args.project.resolve().parent
    task = load_task(project, base)
    if not hasattr(task, "prompt"):
        raise ProjectError("has no golden set", field="task", value=project.task, fix="name a project of a prompt")
    golden = _golden(base, project.data.source)
    prompt, label = task.prompt(), project.data.columns.label
    if args.reviewed is not None:
        told = _taken(args.reviewed, golden, prompt, label)
    else:
        review = args.review or base / "review.jsonl"
        if review.exists():
            raise ProjectError(
                "is there already", field="--review", value=str(review), fix=f"take it in with --reviewed {review}, or remove it"
            )
        told = _written(args.log or str(Home(args.home).root / "log"), project.name, golden, prompt, label, review)
    if args.json:
        show_json({"outcome": "done", **told})
    else:
        print(told["said"])
    return 0


def _golden(base: Path, source: str) -> Path:
    path = (base / source).resolve()
    if path.suffix.lower() not in (".jsonl", ".ndjson") or not path.is_file():
        raise ProjectError(
            "is no file of JSON lines beside the project, which could be added to",
            field="data.source",
            value=source,
            fix="data/golden.jsonl",
        )
    if path.stat().st_size > _LIMIT:
        raise ProjectError(f"is larger than {_LIMIT >> 20} MiB", field="data.source", value=source, fix="add to it by hand")
    return path


def _written(log: str, name: str, golden: Path, prompt: Prompt, label: str, review: Path) -> dict[str, Any]:
    """The review: each question once, with the last correction; those that the golden set has are left out."""
    known = {_key(item, prompt) for _, item in _lines(golden)}
    found: dict[bytes, dict[str, Any]] = {}
    coverage = Coverage()
    for batch in joined(log, name, coverage=coverage):
        for row in batch.to_pylist():
            values = {k: v for k, v in (row.get("features") or row.get("rows") or {}).items() if k in prompt.variables and v is not None}
            if row["label"] is None or not values or (key := _key(values, prompt)) in known:
                continue
            about = {"request_id": row["request_id"], "answered": row.get("prediction") or row.get("text")}
            found[key] = {**values, label: str(row["label"]), "accept": None, "told": about}
            if len(found) >= _MOST:
                break
    unread = [*coverage.unread, *coverage.unread_labels]
    left = "".join(f"\nnot read: {text}" for text in unread[:_SHOWN])
    if not found:
        return {"candidates": 0, "unread": unread, "said": f"no corrected answer in {log} that {golden.name} does not hold{left}"}
    files.write_bytes(review, b"".join(orjson.dumps(item) + b"\n" for item in found.values()))
    said = (
        f'{len(found)} corrected answers to review in {review}: set "accept" to true or false, then sluice golden add --reviewed {review}'
    )
    return {"candidates": len(found), "review": str(review), "unread": unread, "said": said + left}


def _taken(review: Path, golden: Path, prompt: Prompt, label: str) -> dict[str, Any]:
    """Accepted lines behind the golden set's own. Raises `DataError`: a line that says nothing of it, or does not fit the prompt."""
    known = {_key(item, prompt) for _, item in _lines(golden)}
    new, refused, again = [], 0, 0
    for number, item in _lines(review):
        where = f"{review}:{number}"
        if item.get("accept") not in (True, False):
            raise DataError(
                "is neither accepted nor refused", field=f"{where}: accept", value=item.get("accept"), fix='write "accept": true or false'
            )
        if not item["accept"]:
            refused += 1
            continue
        kept = {k: v for k, v in item.items() if k not in ("accept", "told")}
        if not isinstance(kept.get(label), str) or not kept[label].strip():
            raise DataError(
                "has no expected answer", field=f"{where}: {label}", value=kept.get(label), fix="write the answer that is right"
            )
        prompt.read({k: v for k, v in kept.items() if k in prompt.variables}, where)
        again += (key := _key(kept, prompt)) in known
        if key not in known:
            new.append(kept)
            known.add(key)
    before = golden.read_bytes()
    gap = b"" if before.endswith(b"\n") or not before else b"\n"
    files.write_bytes(golden, before + gap + b"".join(orjson.dumps(item) + b"\n" for item in new))
    said = f"{len(new)} items added to {golden}, {refused} refused, {again} there already; the next run judges by them"
    return {"added": len(new), "refused": refused, "known": again, "golden": str(golden), "said": said}


def _key(item: Mapping[str, Any], prompt: Prompt) -> bytes:
    """A question, white space and case aside."""
    return key_of({k: v for k, v in item.items() if k in prompt.variables})


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects with their line numbers. Raises `DataError`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}", field=str(path), fix="name the file that `sluice golden add` wrote") from e
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = orjson.loads(line)
        except orjson.JSONDecodeError as e:
            raise DataError(f"is no JSON: {e}", field=f"{path}:{number}", fix="mend the line") from e
        if not isinstance(item, dict):
            raise DataError("is no object", field=f"{path}:{number}", value=item, fix="mend the line")
        yield number, item
