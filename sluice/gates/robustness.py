"""The robustness: how much worse does the model answer where rows come differently than they were collected, though their truth is the same?

Held-out rows are disturbed in the ways that the fields of the data know (`Field.disturbances`), go through the package as served ones do, and are
judged against the same rows as they are: a paired difference with its interval, of units where rows belong together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field as Setting

from sluice.core.check import Check, Decision
from sluice.core.errors import DataError, InputError
from sluice.core.section import Names, Section
from sluice.gates.bar import between, number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    import numpy as np

    from sluice.fields.field import Field

#: Rows that are looked at where no drop is refused: evidence has to be cheap.
_FEW = 200
#: Rows that tell how long a row takes, and the fewest that are disturbed.
_PROBED, _FEWEST = 16, 20
#: Columns of a suite that are named; a table may have thousands.
_NAMED = 20


class RobustnessConfig(Section):
    """How rows are disturbed, and how much worse the answers may get."""

    drop: float | None = Setting(
        None,
        ge=0,
        description="largest drop of the metric accepted on disturbed rows, for rmse and mae a fraction of its value; null: told, nothing refused",
    )
    suites: Annotated[list[str], Names("suite")] = Setting(
        [],
        description="ways of disturbing rows (typos, case, whitespace, noise, missing, shift, brightness, gain); empty: all the fields know",
    )
    noise: float = Setting(
        0.1, gt=0, le=10, description="deviation of noise, as a fraction of a column's, a picture's or a recording's own"
    )
    rows: int = Setting(1000, ge=20, le=1_000_000, description="most held-out rows that are disturbed; 200 where no drop is set")
    seconds: float = Setting(
        5, ge=0, le=86400, description="processor time where no drop is set; what it did not get to is named; 0: nothing is disturbed"
    )


class RobustConfig(MetricConfig):
    """How the answers to disturbed rows are judged."""

    robustness: RobustnessConfig = Setting(RobustnessConfig(), exclude_if=lambda told: told == RobustnessConfig())


class Robustness(Check):
    """Refuses where a suite makes the metric worse by more than `drop` beyond doubt: over all suites together a model at the limit is refused
    with probability (1 - confidence) / 2 at most. Without a `drop` it tells what a few rows show and refuses nothing."""

    name, step, Config = "robustness", "evaluate", RobustConfig
    then = "{more} that look like those that come in (the report shows each suite), or change evaluate.robustness.drop"

    def judge(self, facts: Judged, config: RobustConfig) -> Decision:
        """The decision of `decide`, of `measured`."""
        found = measured(facts, config)
        return decide(found, config) if found else Decision("pass")

    def section(self, decision: Decision) -> str:
        """Each suite's drop with its interval."""
        found = decision.evidence.get("robustness")
        return _drawn(found) if found and (found["suites"] or found["left"]) else ""


def measured(facts: Judged, config: RobustConfig) -> dict[str, Any] | None:
    """What disturbed rows show.

    Returns:
        ``metric``, ``rows``, ``noise``, ``limit`` (as it was set, or null), ``confidence`` of each interval, ``suites`` [{suite,
        columns (the first), of (how many), value, clean, drop, low, high, verdict}] and ``left`` [{suite, why}], those that were not measured. Verdicts: ``dropped``,
        ``holds``, ``cannot_tell``, or ``told`` where no limit is set. With ``unit`` and ``units`` where rows belong together. None where no
        field of the data knows how it is disturbed, or answers are not those to single rows.
    """
    import numpy as np

    from sluice.engines.predictor import Predictor
    from sluice.engines.rows import rows_from_arrow, spread
    from sluice.problems.problem import Problem

    asked, set_ = facts.dataset.problem, config.robustness
    by_row = type(asked).judged is Problem.judged and facts.dataset.rows("test") == len(facts.outputs)
    suites = suites_of(fields_of(facts.package.preprocess)) if by_row and (set_.seconds or set_.drop is not None) else {}
    if set_.suites:
        suites = {name: suites[name] for name in set_.suites if name in suites}
    if not suites:
        return None
    most = set_.rows if set_.drop is not None else min(_FEW, set_.rows)
    chosen = np.unique(np.linspace(0, len(facts.outputs) - 1, min(most, len(facts.outputs))).astype(np.int64))
    raw = rows_from_arrow(facts.package.preprocess, spread(facts.dataset, "test", most))
    told = _Rows(facts, config, Predictor(facts.package), raw, chosen, 1 - (1 - config.confidence) / len(suites))
    if set_.drop is None:
        told = told.within(set_.seconds, suites)
        chosen = told.chosen
    found: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    begun = time.process_time()
    for name, columns in suites.items():
        if set_.drop is None and time.process_time() - begun > set_.seconds:
            left.append({"suite": name, "why": "no time was left (evaluate.robustness.seconds)"})
            continue
        try:
            named = [c for c in columns if c]
            found.append({"suite": name, "columns": named[:_NAMED], "of": len(named), **told.suite(name, columns)})
        except (InputError, DataError) as e:
            left.append({"suite": name, "why": f"the model cannot be asked of such rows: {e.message}"})
    units = facts.units.rows(chosen) if facts.units else None
    head = {"metric": facts.evaluation["metric"], "rows": len(chosen), "noise": set_.noise, "limit": set_.drop}
    return {**head, "confidence": told.confidence, "suites": found, "left": left, **(units.told_as() if units else {})}


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Held-out rows as they were collected, and whom to ask of them."""

    facts: Judged
    config: RobustConfig
    predictor: Any
    raw: Sequence[Any]
    chosen: np.ndarray
    confidence: float

    def within(self, seconds: float, suites: Mapping[str, Mapping[str, Any]]) -> _Rows:
        """As many of these rows, evenly spaced, as every suite has time for, by what a few of them take; at least `_FEWEST`."""
        import numpy as np

        few, (name, columns) = self.raw[:_PROBED], next(iter(suites.items()))
        begun = time.process_time()
        with contextlib.suppress(InputError, DataError):  # which is told of the suite
            self.predictor.predict(disturbed(few, name, columns, 0, self.config.robustness.noise))
        each = (time.process_time() - begun) / len(few)
        most = max(_FEWEST, int(seconds / max(1e-9, each * len(suites))))
        if most >= len(self.raw):
            return self
        kept = np.unique(np.linspace(0, len(self.raw) - 1, most).astype(np.int64))
        return dataclasses.replace(self, raw=[self.raw[i] for i in kept], chosen=self.chosen[kept])

    def suite(self, name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The drop by one suite. `columns`: column (`""`: the row is one value) -> its `Disturbance`."""
        from sluice.problems.comparison import compare

        facts, at, limit = self.facts, self.chosen, self.config.robustness.drop
        rows = disturbed(self.raw, name, columns, facts.project.train.seed, self.config.robustness.noise)
        # A script without large letters, a row without a number: what is the same row has the same answer.
        outputs = facts.outputs[at] if rows == list(self.raw) else self.predictor.predict(rows)
        settings = self.config.model_copy(update={"confidence": self.confidence, "margin": limit or 0.0})
        c = compare(
            outputs,
            facts.outputs[at],
            facts.targets[at],
            facts.labels,
            facts.labels,
            settings,
            rule=facts.package.rule,
            champion_rule=facts.package.rule,
            positive=facts.positive,
            asked=facts.dataset.problem,
            units=facts.units.rows(at) if facts.units else None,
        )
        drop, low, high = (None if v is None else 0.0 - v for v in (c["difference"], c["high"], c["low"]))
        numbers = {"value": c["candidate"], "clean": c["champion"], "drop": drop, "low": low, "high": high, "allowed": c["margin"]}
        if limit is None:
            return numbers | {"allowed": None, "verdict": "told"}
        if low is None or high is None:
            return numbers | {"verdict": "cannot_tell"}
        alike = c["verdict"] == "no_worse" and drop == 0 and c["n_discordant"] == 0
        verdict = "dropped" if low > c["margin"] else "holds" if alike or high <= c["margin"] else "cannot_tell"
        return numbers | {"verdict": verdict}


def fields_of(preprocess: Mapping[str, Any]) -> dict[str, Field]:
    """The fields of a package's rows by column; by ``""`` where a row is one value."""
    from sluice.fields import field_of, processor_class

    value = processor_class(preprocess).value
    if value is not None:
        return {"": value}
    return {c["name"]: field_of(c["type"], c["name"]) for c in preprocess.get("columns", []) if isinstance(c, Mapping) and "type" in c}


def suites_of(fields: Mapping[str, Field]) -> dict[str, dict[str, Any]]:
    """Suite -> the columns it disturbs, with how."""
    found: dict[str, dict[str, Any]] = {}
    for column, field in fields.items():
        for name, how in field.disturbances().items():
            found.setdefault(name, {})[column] = how
    return found


def disturbed(raw: Sequence[Any], suite: str, columns: Mapping[str, Any], seed: int, noise: float) -> list[Any]:
    """Raw rows, disturbed; the same rows, suite and seed give the same.

    Args:
        raw: values, or dicts from column to value.
        suite: its name.
        columns: column (``""``: a row is a value) -> its `Disturbance`.
        seed: of all chance.
        noise: the deviation of noise as a fraction of the values' own.
    """
    import numpy as np

    def generator(column: str) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32(suite.encode()), zlib.crc32(column.encode())])

    if "" in columns:
        return columns[""].change(raw, generator(""), noise)
    out = [dict(row) for row in raw]
    single = [name for name, how in columns.items() if how.single]
    turn = generator("which cell").integers(max(1, len(single)), size=len(raw))
    for name, how in columns.items():
        values = how.change([row.get(name) for row in raw], generator(name), noise)
        for i, value in enumerate(values):
            if not how.single or single[turn[i]] == name:
                out[i][name] = value
    return out


def decide(found: dict[str, Any], config: RobustConfig) -> Decision:
    """What `measured` says against the largest drop accepted; where these rows cannot tell it is a caution, or refused by `on_inconclusive`."""
    evidence = {"robustness": found}
    if found["limit"] is None:
        return Decision("pass", evidence=evidence)
    said = {v: tuple(_sentences(found, v)) for v in ("dropped", "cannot_tell")}
    left = tuple(f"not measured, {s['suite']}: {s['why']}" for s in found["left"])
    unsure = (*said["cannot_tell"], *left)
    if said["dropped"] or (unsure and config.on_inconclusive == "refuse"):
        return Decision("refuse", (*said["dropped"], *(unsure if config.on_inconclusive == "refuse" else ())), evidence)
    if unsure:
        warned = tuple(f"warning: {s}" for s in unsure)
        return Decision("pass", warned, evidence, warned)
    names = ", ".join(s["suite"] for s in found["suites"])
    return Decision(
        "pass", (f"{found['metric']} holds on disturbed rows within evaluate.robustness.drop {found['limit']:g}: {names}",), evidence
    )


def _sentences(found: dict[str, Any], verdict: str) -> Iterator[str]:
    for s in found["suites"]:
        if s["verdict"] == verdict:
            limits = f", {found['confidence']:.1%} interval {between(s['low'], s['high'])}" if s["low"] is not None else ""
            what = "drops by" if verdict == "dropped" else "may drop by more than is accepted:"
            yield (
                f"robustness: with {s['suite']} {found['metric']} {what} {number(s['drop'])} ({number(s['clean'])} to {number(s['value'])}{limits}) on "
                f"{found['rows']:,} rows{of_units(found)}, evaluate.robustness.drop accepts {number(s['allowed'])}"
            )


_WORDS = {
    "dropped": '<b class="bad-text">too much</b>',
    "holds": '<span class="ok-text">accepted</span>',
    "cannot_tell": '<span class="warn-text">cannot tell</span>',
    "told": "",
}


def _drawn(found: dict[str, Any]) -> str:
    from html import escape

    from sluice.report import svg
    from sluice.report.tables import Html, table

    rows = [
        [
            s["suite"],
            ", ".join(s["columns"][:4]) + (f" and {s['of'] - 4} more" if s["of"] > 4 else "") or "the whole row",
            s["value"],
            s["drop"],
            svg.between(s["low"], s["high"]) if s["low"] is not None else "",
            Html(_WORDS[s["verdict"]]),
        ]
        for s in found["suites"]
    ]
    whole = f" ({svg.number(found['suites'][0]['clean'])})" if found["suites"] else ""
    limit = (
        f"{svg.number(found['limit'])} accepted"
        if found["limit"] is not None
        else "nothing is refused: evaluate.robustness.drop is not set"
    )
    note = (
        f"{found['rows']:,} held-out rows{of_units(found)}, disturbed with seed and answered by the package as served, against the same rows as they are "
        f"{whole}; {found['confidence']:.1%} intervals; "
        f"noise of {found['noise']:g} of the values' own deviation; {limit}"
    )
    left = "".join(f'<p class="note">not measured, {escape(s["suite"])}: {escape(s["why"])}</p>' for s in found["left"])
    shown = table(["suite", "of", found["metric"], "drop", "interval", ""], rows, (2, 3)) if rows else ""
    return f'<h3>Robustness: disturbed rows</h3>{shown}<p class="note">{escape(note)}</p>{left}'
