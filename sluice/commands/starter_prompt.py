"""`sluice init --data` of a prompt's items: the prompt, the golden set, what can be learnt from, and the project of them."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from sluice.core import files, yamlfile
from sluice.core.errors import DataError, ProjectError
from sluice.core.home import explain_os_error
from sluice.data.prepare import validate_project_data
from sluice.llm.items import ANSWER, Items, key_of
from sluice.llm.prompt import LIMIT_MESSAGES, LIMIT_VALUE, PASSAGES
from sluice.llm.proposal import Judged, judged
from sluice.project import override, parse
from sluice.tasks import load_task

#: Items of a golden set at most, of a file with more of them; files with fewer than so many are one as they are.
_GOLDEN, _ALL = 200, 60
#: Where an endpoint is asked for, and the variable that goes before it.
_URL, _ENV = "http://127.0.0.1:8000/v1", "SLUICE_LLM_URL"
#: Seconds to wait for the names of its models, and bytes of them.
_WAIT, _BYTES = 3.0, 1 << 20
_PROMPT, _SET, _LEARNT = "prompts/answer.yaml", "data/golden.jsonl", "data/train.jsonl"


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        golden, learnt: items of either.
        notes: what a person should know, in sentences.
    """

    golden: int
    learnt: int
    notes: list[str]


def write(items: Items, target: Path, *, name: str, task: str, said: Sequence[str], command: str) -> Written:
    """A folder whose project's data passes its checks.

    Args:
        items: of the file. target: the folder. name: of the project. task: of a prompt.
        said: settings of the project, ``key.path=value`` each. command: for the first line.

    Raises:
        DataError: items that cannot be asked.
        ProjectError: a setting that is none; no endpoint says what its model is called.
    """
    kept, notes = _short(items)
    golden, learnt = _divided(kept)
    wanted = [str(row[ANSWER]) for row in kept if row[ANSWER]]
    how = (
        judged(wanted)
        if wanted
        else Judged({"forbidden": {"kinds": ["e-mail", "phone"]}}, 0.5, "", None, 512, "no item says which answer is wanted")
    )
    raw: dict[str, Any] = {
        "name": name,
        "task": task,
        "data": {"source": _SET, "columns": {"label": ANSWER}},
        "model": {"prompt": _PROMPT, "endpoint": {"url": _URL}, "scorers": how.scorers},
        "evaluate": {"minimum": how.minimum},
    }
    for item in said:
        override(raw, item)
    _named(raw)
    items = _retrieving(raw, items, target)
    parse(raw, where="sluice.yaml")
    notes = [items.form, how.note, *notes]
    with tempfile.TemporaryDirectory(prefix="sluice-init-") as tmp:
        folder = Path(tmp)
        _files(folder, items, how, golden, learnt)
        head = [f"# Written by `{command}`; `sluice schema` lists every key.", *(f"# {n}" for n in notes)]
        files.write_text(folder / "sluice.yaml", "\n".join([*head, yamlfile.dump(raw)]))
        project = parse(raw, base_dir=folder)
        report = validate_project_data(project, folder, load_task(project, folder))
        if report.decision != "pass":
            raise DataError(f"no project of it passes its checks: {'; '.join(report.reasons)}", field="--data", fix="mend the rows")
        try:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                files.write_bytes(target / path.relative_to(folder), path.read_bytes())
        except OSError as e:
            raise explain_os_error(e, target) from e
    return Written(len(golden), len(learnt), notes)


def _short(items: Items) -> tuple[list[dict[str, str | None]], list[str]]:
    """Those that a prompt can hold, and what was left out."""
    kept = [row for row in items.rows if sum(len(v) for n, v in row.items() if v and n != ANSWER) <= LIMIT_MESSAGES // 2]
    left = dict(items.left)
    if len(kept) < len(items.rows):
        left[f"have more than {LIMIT_MESSAGES // 2:,} characters"] = len(items.rows) - len(kept)
    if not kept:
        raise DataError("holds no item short enough to be asked", field="--data", fix=f"cut texts to {LIMIT_MESSAGES // 2:,} characters")
    return kept, [f"left out: {n:,} rows that {why}" for why, n in left.items()]


def _divided(rows: Sequence[dict[str, str | None]]) -> tuple[list[dict[str, str | None]], list[dict[str, str | None]]]:
    """The golden set, whose answers are wanted, and what is left to learn from; equal items are on one side."""
    groups: dict[bytes, list[dict[str, str | None]]] = {}
    for row in rows:
        groups.setdefault(key_of({n: v for n, v in row.items() if n != ANSWER}), []).append(row)
    told = [k for k, group in groups.items() if any(row[ANSWER] for row in group)] or list(groups)
    told.sort(key=lambda k: hashlib.sha256(k).digest())
    many = len(told) if len(told) < _ALL else min(_GOLDEN, max(_ALL // 2, len(told) // 5))
    golden = set(told[:many])
    asked = [next((row for row in group if row[ANSWER]), group[0]) for k, group in groups.items() if k in golden]
    return asked, [row for k, group in groups.items() if k not in golden for row in group if row[ANSWER]]


def _named(raw: dict[str, Any]) -> None:
    """The model's name, where nobody said it: the only one that the endpoint has."""
    endpoint = raw["model"]["endpoint"]
    if not isinstance(endpoint, dict) or endpoint.get("model"):
        return
    url = os.environ.get(_ENV) or str(endpoint.get("url"))
    names = _models(url.rstrip("/"), os.environ.get(str(endpoint.get("key_env") or "")))
    if len(names) != 1:
        found = f"it has {', '.join(names[:10])}" if names else f"{url} does not tell which it has"
        raise ProjectError(
            f"which model answers is not said, and {found}",
            field="model.endpoint.model",
            fix=f"--set model.endpoint.model={names[0] if names else 'NAME'} --set model.endpoint.url={url}",
        )
    endpoint["model"] = names[0]


def _models(url: str, key: str | None) -> list[str]:
    """What an OpenAI-compatible endpoint calls its models; none where it does not answer so."""
    request = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=_WAIT) as answer:
            found = orjson.loads(answer.read(_BYTES))["data"]
        return [str(m["id"]) for m in found]
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException, urllib.error.URLError):
        return []


def _retrieving(raw: dict[str, Any], items: Items, target: Path) -> Items:
    """Where documents were named, the items with a place for their passages; the folder as it is seen from the project. Raises `ProjectError`."""
    retrieval = raw["model"].get("retrieval")
    if not isinstance(retrieval, dict) or not isinstance(folder := retrieval.get("folder"), str):
        return items
    if not Path(folder).is_dir():
        fix = f"it was looked for at {Path(folder).absolute()}"
        raise ProjectError("no such folder", field="--set model.retrieval.folder", value=folder, fix=fix)
    retrieval["folder"] = Path(os.path.relpath(Path(folder).absolute(), target.absolute())).as_posix()
    if len(items.variables) > 1:
        retrieval.setdefault("query", items.asked)
    raw["model"]["scorers"].setdefault("grounded", {})
    return dataclasses.replace(items, user=f'{{{{ {PASSAGES} | join("\n") }}}}\n\n{items.user}')


def _files(folder: Path, items: Items, how: Judged, golden: Sequence[dict[str, Any]], learnt: Sequence[dict[str, Any]]) -> None:
    """The prompt and the items."""
    rows = [*golden, *learnt]
    sizes = {n: max((len(row[n]) for row in rows if row[n]), default=1) for n in items.variables}
    variables = {
        n: {
            **({"required": False} if n in items.optional else {}),
            **({"max_length": LIMIT_MESSAGES // 2} if size > LIMIT_VALUE // 2 else {}),
        }
        for n, size in sizes.items()
    }
    prompt: dict[str, Any] = {"system": items.system} if items.system else {}
    # What stands in the file goes before what we would say of the answer's form.
    user = items.user if items.system or not how.system else f"{items.user}\n{how.system}"
    prompt |= {"user": user, "variables": variables}
    prompt |= {"output": how.output} if how.output else {}
    prompt |= {"parameters": {"temperature": 0, "max_tokens": how.tokens}}
    files.write_text(folder / _PROMPT, yamlfile.dump(prompt))
    for path, found in ((_SET, golden), (_LEARNT, learnt)):
        if found:
            files.write_bytes(
                folder / path, b"".join(orjson.dumps({n: v for n, v in row.items() if v is not None}) + b"\n" for row in found)
            )


def said_of(written: Written, target: Path) -> str:
    """What is printed behind the notes: what is run next."""
    lines = [f"next: serve a model, then {_ENV}=http://HOST:PORT/v1 sluice run {target / 'sluice.yaml'}"]
    if written.learnt:
        lines.append(
            f"to tune a small model to the {written.learnt:,} items that are left: sluice finetune {target / 'sluice.yaml'} "
            f"--base DIR --data {target / _LEARNT} --out tuned"
        )
    return "\n".join(lines)
