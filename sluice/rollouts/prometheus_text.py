"""Counters of a model server from its ``/metrics`` page (Prometheus text format 0.0.4).

prometheus_client has a parser of its own. It takes 5.9 ms of CPU for a page of 24 kB where this takes 1.5 ms (34 and 10 ms for one of 140 kB), and
every process of a model is read at every look: four times a second on this machine. It also lets two values in a line pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from sluice.core.errors import SluiceError
from sluice.rollouts.costs import ANSWERS, BOUND, CAPPED, PAID
from sluice.rollouts.state import BY_USER, LABEL, Counts, signed

REQUESTS = "sluice_inference_requests_total"
SECONDS = "sluice_inference_duration_seconds"
PREDICTIONS = "sluice_predictions_total"
#: Answers of prompts.
PRICED = "sluice_llm_answer_cost_count"
#: By group of users: what each counts.
USERS = {f"sluice_user_{name}_total": name for name in ("requests", "errors", "slow", "odd_labels")}
#: Business outcomes, told by feedback; by group where the user is known.
OUTCOMES = {
    "sluice_feedback_outcomes_total": "outcomes",
    "sluice_feedback_outcome_sum": "outcome_sum",
    "sluice_feedback_outcome_squares_sum": "outcome_squares",
}
#: Groups of users whose counters are read, and characters of a group's name: each lies in the rollout's status.
_GROUPS, _GROUP = 256, 8
#: 499: the client hung up; no answer of the model's was wrong.
_NOT_ERRORS = ("499",)

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_LABELS = re.compile(rf"\s*(?:{_PAIR.pattern}(?:\s*,\s*|\s*$))*")
_ESCAPE = re.compile(r"\\(.)")


def samples(text: str, prefix: str = "") -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of each sample whose name starts with `prefix`.

    Only a line feed ends a line of the format: other separators (U+2028, CR, FF) may stand inside a label's value.

    Raises:
        SluiceError: a line is not in the format.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if not line.startswith(prefix) or line.startswith("#") or not line.strip():
            continue
        found = _LINE.match(line)
        try:
            if found is None or not _LABELS.fullmatch(found[2] or ""):
                raise ValueError(line)
            value = float(found[3])
        except ValueError as e:
            raise SluiceError("is not a sample of the Prometheus text format", field=f"/metrics line {number}", value=line) from e
        labels = {k: _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], v) for k, v in _PAIR.findall(found[2] or "")}
        yield found[1], labels, value


def counts(text: str, slo_seconds: float, model: str | None = None, *, outcomes: bool = False) -> Counts:
    """A server's counters as evidence: requests and errors by code, slow ones by the histogram, answers by label.

    An error is any code of 400 or more: a candidate that refuses what stable accepts is no better
    than one that fails, and what clients do wrong they do to both arms alike.

    Args:
        text: the page. slo_seconds: the latency objective; the histogram needs an edge there, else
            the largest edge below it is taken.
        model: only this model's samples, all if None.
        outcomes: read the business outcomes too.

    Raises:
        SluiceError: the page does not parse, or a counter is NaN, infinite or negative.
    """
    names = {REQUESTS, SECONDS + "_bucket", SECONDS + "_count", PREDICTIONS, PRICED, CAPPED, *USERS, *(OUTCOMES if outcomes else ())}
    out: Counts = {"requests": 0, "errors": 0, "timed": 0, "slow": 0}
    buckets: dict[float, float] = {}
    for name, labels, value in samples(text, "sluice_"):
        if model is not None and labels.get("model", model) != model:
            continue
        if name not in names:
            continue
        key = OUTCOMES.get(name, "")
        if not math.isfinite(value) or (value < 0 and not signed(key)):
            raise SluiceError("is not a count", field=name, value=value)
        if name == REQUESTS:
            out["requests"] += value
            code = labels.get("code", "200")
            if code >= "400" and code not in _NOT_ERRORS:
                out["errors"] += value
        elif name == SECONDS + "_count":
            out["timed"] += value
        elif name == SECONDS + "_bucket":
            edge = float(labels.get("le", "+Inf").replace("+Inf", "inf"))
            buckets[edge] = buckets.get(edge, 0) + value
        elif name == PRICED:
            out[ANSWERS] = out.get(ANSWERS, 0) + value
        elif name == CAPPED:
            bound = PAID + labels.get(BOUND, "")
            out[bound] = out.get(bound, 0) + value
        elif key:
            out[key] = out.get(key, 0) + value
            grouped(out, key, labels, value)
        elif name in USERS:
            grouped(out, USERS[name], labels, value)
        else:
            key = LABEL + labels.get("label", "")
            out[key] = out.get(key, 0) + value
    edges = [e for e in buckets if e <= slo_seconds * (1 + 1e-9)]
    if buckets:
        out["slow"] = out["timed"] - (buckets[max(edges)] if edges else 0)
    return out


def grouped(into: Counts, name: str, labels: Mapping[str, str], value: float) -> None:
    """Add a sample with a label ``group`` to that group's counter; one without, or one that has no counter by user, adds nothing.

    Raises:
        SluiceError: more groups, or a longer name of one, than a rollout's status has room for.
    """
    group = labels.get("group", "")
    if not group or not value or name not in BY_USER:
        return
    key = BY_USER[name] + group
    if key not in into and (len(group) > _GROUP or sum(k.startswith(BY_USER[name]) for k in into) >= _GROUPS):
        raise SluiceError(
            f"has more than {_GROUPS} groups of users, or one whose name is longer than {_GROUP}",
            field=f"group of {name}",
            value=group,
            fix="spread whole users over a few dozen groups: a label a user is without end",
        )
    into[key] = into.get(key, 0.0) + value
