"""The floor: is the model better than no model, and than a simple one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.section import Section
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    import numpy as np

    from sluice.gates.baselines import Baseline
    from sluice.problems.decision import Rule
    from sluice.problems.problem import Problem
    from sluice.problems.units import Units

#: Held-out rows that a constant answer gets wrong, from which on "it answers like the trivial model" is a finding: a model
#: that told half of such rows would answer like it on all five one time in 32.
ENOUGH = 5
#: Of the test that the stated number of rows is for.
POWER = 0.8
_NORMAL = NormalDist()


_WORDS = {
    "better": ("ok-text", "better than no model"),
    "ranks": ("warn-text", "ranks the rows, though the metric does not show it"),
    "no_better": ("bad-text", "no better than no model"),
    "inconclusive": ("warn-text", "too few rows to tell it from no model"),
}


class BaselinesConfig(Section):
    """What a trivial model (majority class, mean) and a linear one on the same fields have to say; both are always trained."""

    on_no_better: Literal["refuse", "warn"] = Field("refuse", description="when the model is shown to be no better than the trivial one")
    on_ahead: Literal["warn", "refuse"] = Field("warn", description="when the linear one is better beyond doubt")
    seconds: float = Field(120, gt=0, le=3600, description="processor time the linear one may take; past that the gate goes on without it")


class FloorConfig(MetricConfig):
    """What happens where the model is no better than no model, or than a simple one."""

    baselines: BaselinesConfig = BaselinesConfig()


class Floor(Check):
    """Champion or none: a model shown to be no better than the trivial one is refused (`evaluate.baselines.on_no_better`), and one
    that cannot be told from it is ``inconclusive``."""

    name, step, Config = "floor", "evaluate", FloorConfig
    then = "see that the label is the right column and the columns can tell it, or judge by another evaluate.metric (evaluate.baselines)"

    def judge(self, facts: Judged, config: FloorConfig) -> Decision:
        """The decision of `decide`; the baselines are trained on the dataset's training rows."""
        from sluice.gates.baselines import simple, trivial

        dataset, package, labels = facts.dataset, facts.package, facts.labels
        baselines = (
            trivial(dataset, labels, facts.evaluation["metric"], facts.positive),
            simple(dataset, labels, package.preprocess, package.root, config, facts.positive),
        )
        return decide(
            judge(
                facts.outputs,
                facts.targets,
                labels,
                facts.evaluation,
                *baselines,
                config,
                rule=package.rule,
                positive=facts.positive,
                asked=dataset.problem,
                units=facts.units,
            ),
            config,
        )

    def section(self, decision: Decision) -> str:
        """The baselines beside the candidate: their numbers, and the paired differences drawn against zero."""
        return drawn(decision.evidence["floor"]) if decision.evidence.get("floor") else ""


def decide(floor: dict[str, Any], config: FloorConfig) -> Decision:
    """What the baselines say.

    Args:
        floor: of `judge`.
        config: what happens.
    """
    verdict, said = floor["verdict"], floor["said"]
    against, passed = [], []
    if verdict == "no_better" and config.baselines.on_no_better == "refuse":
        against.append(f"no better than no model: {said}")
    elif verdict == "no_better":
        passed.append(f"no better than no model (evaluate.baselines.on_no_better is warn): {said}")
    elif verdict == "inconclusive" and config.on_inconclusive == "refuse":
        against.append(f"cannot be told from no model and evaluate.on_inconclusive is refuse: {said}")
    else:
        passed.append(said)
    if floor["ahead"]:
        refuse = config.baselines.on_ahead == "refuse"
        (against if refuse else passed).append(floor["ahead"] + (" and evaluate.baselines.on_ahead is refuse" if refuse else ""))
    evidence, told = {"floor": floor}, tuple(cautions(floor))
    if against:
        return Decision("refuse", tuple(against), evidence, told)
    return Decision("inconclusive" if verdict == "inconclusive" else "pass", tuple(passed), evidence, told)


def cautions(floor: dict[str, Any]) -> list[str]:
    """What a person has to hear of the floor beside a verdict of `pass`."""
    spoken = [floor["said"]] if floor["verdict"] != "better" else []
    return spoken + ([floor["ahead"]] if floor["ahead"] else [])


def judge(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    evaluation: dict[str, Any],
    trivial: Baseline,
    simple: Baseline | str,
    config: FloorConfig,
    *,
    rule: Rule | None = None,
    positive: str | None = None,
    asked: Problem | None = None,
    units: Units | None = None,
) -> dict[str, Any]:
    """The candidate against the baselines, on the same rows.

    Args:
        outputs, targets, labels: as for `evaluate`, of the candidate.
        evaluation: what `evaluate` found of the candidate.
        trivial: on all rows.
        simple: on some or all of them, or why there is none.
        config: the project's ``evaluate``.
        rule, positive: of the candidate, as for `evaluate`; the baselines answer by their own.
        asked: the problem; None: the built-in one of such labels.
        units: which rows belong together; None: each stands alone.

    Returns:
        ``trivial`` and ``simple`` (what `compare` gives, with ``baseline`` for the champion's value, ``name``, ``facts``; `simple` is
        ``{"missing": why}`` where there is none), ``verdict`` and ``said``, a sentence. Verdicts: ``better`` than the trivial one beyond doubt;
        ``ranks`` where the metric does not show it but the area under the ROC curve is above 1/2 beyond doubt; ``no_better``: the whole
        interval is at or below 0 or does not reach past the margin, or it answers like a constant; ``inconclusive``, with ``rows_needed``. Where the metric is recall these are of the balanced accuracy. ``ahead`` is a sentence where
        the simple one is better beyond doubt, else null.
    """
    import numpy as np

    from sluice.problems.problem import of_labels

    # Recall alone is had by answering the label throughout.
    by = config.model_copy(update={"metric": "balanced_accuracy"}) if config.metric == "recall" else config
    asked = asked or of_labels(labels)
    how = {"rule": rule, "positive": positive, "asked": asked}
    against = _against(outputs, targets, labels, trivial, by, **how, units=units)
    found: dict[str, Any] = {"trivial": against, "rows_needed": None, "ahead": None}
    if isinstance(simple, str):
        found["simple"] = {"name": asked.linear or "a simple model", "missing": simple}
    else:
        some = units.rows(simple.rows) if units else None
        found["simple"] = other = _against(outputs[simple.rows], targets[simple.rows], labels, simple, config, **how, units=some)
        if other["high"] is not None and other["high"] < 0:
            found["ahead"] = f"{simple.name} is better by {_gap(-other['difference'], -other['high'], -other['low'], other)}"
    missed, n = asked.missed(trivial.outputs[0], targets), units.count if units else len(targets)
    wrong = len(np.unique(units.codes[missed])) if units else int(missed.sum())
    verdict, said = _verdict(asked, outputs, wrong, against, evaluation, chosen=config.metric is not None and rule is None)
    if verdict == "inconclusive":
        alike = asked.classes and against["n_discordant"] == 0
        needed = (math.ceil(ENOUGH * n / wrong) if wrong else None) if alike else rows_needed(against, config.confidence)
        found["rows_needed"] = needed
        said += f": {_more(needed, ' units' if units else '')}"
    return found | {"verdict": verdict, "said": said}


def _more(needed: int | None, what: str) -> str:
    if not needed:
        return "they hold nothing to reckon from how many would tell"
    return f"if things stay as they are, about {needed:,}{what} would tell ({POWER:.0%} power)"


def rows_needed(against: dict[str, Any], confidence: float) -> int | None:
    """Held-out rows (units, where rows belong together) on which a difference of the size seen would be told from 0, with `POWER`; null where none was seen.

    The usual n = (z_confidence + z_power)^2 (s / d)^2 of a paired comparison; s, the deviation of a row's paired difference, is
    read from the interval's width, so it holds for every metric.
    """
    d, low, high = (against[k] for k in ("difference", "low", "high"))
    n = against.get("units", against["rows"])
    if not d or low is None or high <= low:
        return None
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    s = math.sqrt(n) * (high - low) / (2 * z)
    return max(n + 1, rounded_up(((z + _NORMAL.inv_cdf(POWER)) * s / abs(d)) ** 2))


def rounded_up(rows: float) -> int:
    """A number of rows to two digits: an estimate from few rows has no more."""
    digits = 10 ** max(0, len(str(int(rows))) - 2)
    return int(math.ceil(rows / digits) * digits)


def _against(
    outputs: np.ndarray,
    targets: np.ndarray,
    labels: Sequence[str],
    baseline: Baseline,
    config: FloorConfig,
    **how: Any,
) -> dict[str, Any]:
    from sluice.problems.comparison import compare

    c = compare(outputs, baseline.outputs, targets, labels, labels, config, champion_rule=baseline.rule, **how)
    kept = (
        *(k for k in ("unit", "units") if k in c),
        "metric",
        "direction",
        "confidence",
        "rows",
        "candidate",
        "difference",
        "low",
        "high",
        "margin",
        "n_discordant",
        "method",
    )
    return {k: c[k] for k in kept} | {"baseline": c["champion"], "name": baseline.name, "facts": baseline.facts}


def _verdict(
    asked: Problem, outputs: np.ndarray, wrong: int, c: dict[str, Any], evaluation: dict[str, Any], *, chosen: bool
) -> tuple[str, str]:
    """The verdict and its sentence. `wrong`: rows the trivial one gets wrong; `chosen`: the project named the metric, and no threshold."""
    import numpy as np

    metric, name = asked.metrics()[c["metric"]], c["name"]
    numbers = f"{metric.name} {_number(c['candidate'])} against {_number(c['baseline'])}"
    if c["low"] is not None and c["low"] > 0:
        return "better", f"better than {name}: {numbers}"
    constant = bool(np.all(np.ptp(outputs, axis=0) <= 1e-6 * np.maximum(np.abs(outputs).max(axis=0), 1e-300)))
    alike = constant or (metric.by_label and c["n_discordant"] == 0)
    nothing = c["candidate"] is None and c["baseline"] is not None  # a precision of rows that are never named
    worse = not alike and (nothing or (c["high"] is not None and c["high"] <= 0 and c["difference"] < 0))
    close = not alike and not worse and c["high"] is not None and c["high"] <= c["margin"]
    area = evaluation["metrics"].get("roc_auc") or {"low": None}
    ranks = not constant and area["low"] is not None and area["low"] > 0.5
    if alike:
        what = f"it gives every row the same answer, as {name} does" if constant else f"on every held-out row it answers as {name} does"
    elif nothing:
        what = f"its {metric.name} is undefined where {name} has {_number(c['baseline'])}"
    elif worse:
        what = f"it is worse than {name}: {numbers}, by {_gap(-c['difference'], -c['high'], -c['low'], c)}"
    elif close:
        what = f"{numbers}: not better than {name} by more than evaluate.margin ({c['margin']:.3g}; difference {_gap(c['difference'], c['low'], c['high'], c)})"
    elif c["difference"] is None:
        what = f"{numbers} cannot be compared with {name}"
    else:
        what = f"{numbers} does not tell it from {name} (difference {_gap(c['difference'], c['low'], c['high'], c)})"
    two = evaluation.get("positive") is not None
    advice = f"evaluate.metric ({'average_precision, balanced_accuracy or f1' if two else 'balanced_accuracy, macro_f1 or log_loss'})"
    threshold = ", or choose its threshold with evaluate.decision" if two and not evaluation.get("decision") else ""
    if ranks and not (worse and chosen):
        return "ranks", f"{what}, but its probabilities rank the rows ({_area(area)}): judge it by another {advice}{threshold}"
    if worse or close or (alike and wrong >= ENOUGH):
        rank = (
            f"; its probabilities rank the rows, though ({_area(area)}): another {advice} may be the right one{threshold}"
            if ranks
            else f", and its probabilities do not rank the rows beyond doubt ({_area(area)})"
            if area["low"] is not None and not constant
            else ""
        )
        return "no_better", what + rank
    return "inconclusive", what + f" on {c['rows']} held-out rows{of_units(c)}"


def _area(area: dict[str, Any]) -> str:
    return f"ROC AUC {area['value']:.3f}, {area['low']:.3f} to {area['high']:.3f}"


def _gap(difference: float | None, low: float | None, high: float | None, c: dict[str, Any]) -> str:
    if difference is None:
        return "undefined"
    return f"{difference:.3g}" + (f", {c['confidence']:.0%} interval {low:.3g} to {high:.3g}" if low is not None else "")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def drawn(found: dict[str, Any]) -> str:
    """A table and a picture of what `judge` found."""
    from sluice.report import svg

    css, word = _WORDS[found["verdict"]]
    known = [c for c in (found["trivial"], found["simple"]) if "missing" not in c]
    rows = "".join(_baseline(c) for c in known)
    metric = escape(str(found["trivial"]["metric"]))
    head = f'<tr><th></th><th class="n">{metric}</th><th class="n">candidate is better by</th><th class="n">interval</th><th class="n">rows</th></tr>'
    out = f'<h3>Against no model and a simple one, on the same rows</h3><p><b class="{css}">{escape(word)}</b>: {escape(str(found["said"]))}</p>'
    if found.get("ahead"):
        out += f'<p><b class="warn-text">{escape(str(found["ahead"]))}</b></p>'
    out += f'<div class="scroll" tabindex="0"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    shown = [c for c in known if None not in (c["difference"], c["low"], c["high"])]
    if shown:
        out += svg.differences(
            [(str(c["name"]), c["difference"], c["low"], c["high"]) for c in shown], f"{found['trivial']['metric']}: candidate better by"
        )
    notes = [f"{c['name']}: {c['facts']['note']}" for c in known if c["facts"].get("note")]
    if found["simple"].get("missing") == "":
        pass
    elif "missing" in found["simple"]:
        notes.append(f"{found['simple']['name']} was left out: {found['simple']['missing']}")
    else:
        facts = found["simple"]["facts"]
        notes.append(
            f"{found['simple']['name']}: {facts['features']:,} features, {facts['rows_trained']:,} training rows, {facts['seconds']:.1f} s"
        )
    return out + "".join(f'<p class="note">{escape(n)}</p>' for n in notes)


def _baseline(c: dict[str, Any]) -> str:
    from sluice.report import svg

    limits = svg.between(c["low"], c["high"]) if c["low"] is not None else ""
    difference = svg.number(c["difference"]) if c["difference"] is not None else ""
    value = svg.number(c["baseline"]) if c["baseline"] is not None else ""
    return (
        f'<tr><td>{escape(str(c["name"]))}</td><td class="n">{value}</td><td class="n">{difference}</td><td class="n">{limits}</td>'
        f'<td class="n">{c["rows"]:,}</td></tr>'
    )
