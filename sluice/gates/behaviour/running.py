"""The cases of a file of behaviour, asked of a package through the served pre-processing and graph."""

from __future__ import annotations

import base64
import dataclasses
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError, ProjectError
from sluice.fields import fields_of
from sluice.fields.changes import parse_change
from sluice.gates.bar import number
from sluice.gates.behaviour.fitting import alone, check_suite, inputs_of, label_of
from sluice.gates.behaviour.suite import MOST_CASES, Direction, Invariance, Minimum, read_suite

if TYPE_CHECKING:
    from sluice.engines.predictor import Predictor
    from sluice.gates.facts import Judged

#: Failing cases that are kept of a test, of which so many as pictures; characters of an input that are shown; bytes of a picture.
_KEPT, _PICTURES, _LONG, _LARGE = 10, 3, 200, 20_000
#: Moves of a number below this are rounding.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class _Case:
    before: Any
    after: Any
    expect: Any = None


def run(facts: Judged, path: Path) -> dict[str, Any]:
    """Ask every case.

    Returns:
        ``file``, ``sha256``, ``cases``, ``passed``, ``rate``, ``pass_rate`` and ``verdict`` in all, and ``tests`` [{name, type, cases, passed, rate, pass_rate, verdict
        (``passed``, ``failed``, ``no cases``), failures [{input, changed, before, after, wanted}]}].

    Raises:
        ProjectError: the file is not for these data, or an input cannot be read by the model.
    """
    from sluice.engines.predictor import Predictor

    check_suite(path, facts.dataset.columns, facts.dataset.problem, facts.labels)
    suite, digest = read_suite(path)
    predictor, secret = Predictor(facts.package), frozenset(facts.project.data.sensitive)
    tests = [_ran(test, f"{path.name}: tests.{i} ({test.name})", facts, path, predictor, secret) for i, test in enumerate(suite.tests)]
    cases, passed = sum(t["cases"] for t in tests), sum(t["passed"] for t in tests)
    rate = passed / cases if cases else 1.0
    verdict = "failed" if suite.pass_rate is not None and rate < suite.pass_rate else "passed"
    told = {"file": path.name, "sha256": digest, "cases": cases, "passed": passed, "rate": rate}
    return told | {"pass_rate": suite.pass_rate, "verdict": verdict, "tests": tests}


def _ran(test: Any, place: str, facts: Judged, path: Path, predictor: Predictor, secret: frozenset[str]) -> dict[str, Any]:
    cases = _cases(test, facts, path)
    if len(cases) > MOST_CASES:
        raise ProjectError(
            f"makes {len(cases):,} cases, a test has at most {MOST_CASES:,}", field=place, fix="take fewer inputs or variants"
        )
    failures: list[dict[str, Any]] = []
    passed = 0
    if cases:
        try:
            before, after = (predictor.predict([getattr(c, side) for c in cases]) for side in ("before", "after"))
        except InputError as e:
            raise ProjectError(f"cannot be asked: {e.message}", field=f"{place}, {e.field}", fix=e.fix) from e
        for i, case in enumerate(cases):
            fault = _fault(test, case, before[i], after[i], predictor, facts.labels)
            passed += fault is None
            if fault is not None and len(failures) < _KEPT:
                failures.append(_shown(test, case, fault, secret, len(failures) < _PICTURES))
    rate = passed / len(cases) if cases else 0.0
    verdict = "no cases" if not cases else "passed" if rate >= test.pass_rate else "failed"
    told = {"name": test.name, "type": test.type, "cases": len(cases), "passed": passed, "rate": rate, "pass_rate": test.pass_rate}
    return told | {"verdict": verdict, "failures": failures}


def _cases(test: Any, facts: Judged, path: Path) -> list[_Case]:
    single = alone(fields_of(facts.dataset.columns))
    if test.rows:
        from sluice.engines.rows import rows_from_arrow, spread

        given = rows_from_arrow(facts.package.preprocess, spread(facts.dataset, "test", test.rows))
    else:
        given = [(path.parent / i).read_bytes() if single is not None and single.blob else i for i in inputs_of(test)]
    if isinstance(test, Minimum):
        expected = [c.expect for c in test.cases] or [test.expect] * len(given)
        return [_Case(row, row, e) for row, e in zip(given, expected, strict=True)]
    changes = parse_change(test.change)
    return [
        _Case(row, made) for i, row in enumerate(given) for made in _changed(row, changes, random.Random(f"{test.seed}:{test.name}:{i}"))
    ]


def _changed(row: Any, changes: list[Any], chance: random.Random) -> list[Any]:
    """A row changed by all of the changes, in each variant; none where one of them has nothing to change."""
    out = [row]
    for column, change in changes:
        out = [made for one in out for made in _once(one, column, change, chance)]
    return out


def _once(row: Any, column: str, change: Any, chance: random.Random) -> list[Any]:
    if not column:
        return list(change.variants(row, chance))
    value = row.get(column)
    if value is None and not hasattr(change, "values"):  # there is nothing to add to
        return []
    return [{**row, column: made} for made in change.variants(value, chance)]


def _fault(test: Any, case: _Case, before: np.ndarray, after: np.ndarray, predictor: Predictor, labels: list[str]) -> dict[str, str] | None:
    """What is wrong with the answers to a case: as they are shown, and what was wanted. None: nothing."""
    if labels:
        said, then = (labels[int(predictor.codes(p[None])[0])] for p in (before, after))
        if isinstance(test, Minimum):
            return (
                None
                if then == label_of(case.expect)
                else {"before": "", "after": repr(then), "wanted": f"{label_of(case.expect)!r} is expected"}
            )
        if isinstance(test, Invariance):
            return None if said == then else {"before": repr(said), "after": repr(then), "wanted": "the same is expected"}
        at = labels.index(label_of(test.of))
        return _moved(test, float(before[at]), float(after[at]), f"the probability of {label_of(test.of)!r}")
    first, second = float(before), float(after)
    if isinstance(test, Minimum):
        near = abs(second - float(case.expect)) <= (test.within or 0.0)
        return (
            None
            if near
            else {"before": "", "after": number(second), "wanted": f"{number(float(case.expect))} is expected, {test.within:g} off at most"}
        )
    if isinstance(test, Invariance):
        near = abs(second - first) <= (test.within or 0.0)
        return None if near else {"before": number(first), "after": number(second), "wanted": f"it may move by {test.within:g}"}
    return _moved(test, first, second, "the value")


def _moved(test: Direction, before: float, after: float, what: str) -> dict[str, str] | None:
    gone = (after - before) * (1 if test.moves == "rises" else -1)
    if gone >= test.by - _ROUNDING * max(1.0, abs(before)):
        return None
    least = f" by {test.by:g} at least" if test.by else ""
    return {"before": number(before), "after": number(after), "wanted": f"{what} must {test.moves.removesuffix('s')}{least}"}


def _shown(test: Any, case: _Case, fault: dict[str, str], secret: frozenset[str], pictures: bool) -> dict[str, Any]:
    changed = None if isinstance(test, Minimum) else case.after
    out: dict[str, Any] = {
        "input": _text(case.before, secret),
        "changed": "" if changed is None else _difference(case.before, changed, secret),
        **fault,
    }
    if pictures:
        for key, value in (("input", case.before), ("changed", changed)):
            if isinstance(value, bytes) and (small := _picture(value)) is not None:
                out[f"{key}_picture"] = small
    return out


def _difference(before: Any, after: Any, secret: frozenset[str]) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        return _text({k: v for k, v in after.items() if v != before.get(k)}, secret)
    return _text(after, secret)


def _text(value: Any, secret: frozenset[str]) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        shown = {k: "(sensitive)" if k in secret else f"{len(v):,} bytes" if isinstance(v, bytes) else v for k, v in value.items()}
        return _cut(", ".join(f"{k}: {_cell(v)}" for k, v in shown.items()))
    return _cut(repr(value))


def _cell(value: Any) -> str:
    return f"{float(value):.10g}" if isinstance(value, float | np.floating) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def _picture(data: bytes) -> str | None:
    """A picture small enough to stand in a report, base64 of PNG; None where it cannot be drawn."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as opened:
            small = opened.convert("RGB")
    except OSError:
        return None
    small.thumbnail((96, 96))
    out = io.BytesIO()
    small.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode() if out.tell() <= _LARGE else None
