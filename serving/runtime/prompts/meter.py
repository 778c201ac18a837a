"""What prompts cost and how they answer, as counters."""

from __future__ import annotations

import random

from serving.runtime.metrics import Metrics
from serving.runtime.prompts.model import PromptModel, Told
from sluice.llm.groundedness import claims
from sluice.llm.redaction import found
from sluice.llm.rules import Toxicity, refuses

#: Edges in seconds of what an endpoint takes, and of the first token.
SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
#: Edges of what an answer costs, in the currency of the package's price.
COSTS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
#: Bounds up to which an answer's cost is counted, one sum each: what a rollout compares (`sluice.rollouts.costs`).
BOUNDS = tuple(f"{10 ** (i / 4):.3g}" for i in range(-24, 5))
#: Edges of the share of an answer's claims that its sources do not support.
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.99)
#: Share of answers with sources that are held against these, and characters looked at of both: some milliseconds each.
SAMPLE, _ANSWER, _SOURCES = 0.1, 2_000, 6_000
_TOXICITY = Toxicity()


class Meter:
    """A prompt's series."""

    def __init__(self, metrics: Metrics, model: PromptModel):
        self._metrics, self._values, self._model = metrics, metrics.values, model
        self._who = {"model": model.name, "version": model.version}
        self._seconds = metrics.histogram("sluice_llm_call_seconds", SECONDS, **self._who)
        self._first = metrics.histogram("sluice_llm_first_token_seconds", SECONDS, **self._who)
        self._cost = metrics.histogram("sluice_llm_answer_cost", COSTS, **self._who)
        self._capped: list[tuple[float, int]] = []
        self._squares = metrics.counter("sluice_llm_answer_cost_squares_sum", **self._who)
        self._in = metrics.counter("sluice_llm_tokens_total", **self._who, direction="in")
        self._out = metrics.counter("sluice_llm_tokens_total", **self._who, direction="out")
        self._attempts = metrics.counter("sluice_llm_attempts_total", **self._who)
        self._answers = metrics.counter("sluice_llm_answers_total", **self._who)
        self._refusals = metrics.counter("sluice_llm_refusals_total", **self._who)
        self._unsupported = metrics.histogram("sluice_llm_unsupported_share", SHARES, **self._who)
        self._open = metrics.counter("sluice_llm_breaker_open", **self._who)
        self.failed("schema", 0.0)

    def answered(self, told: Told) -> None:
        """An answer came, allowed by the prompt or not."""
        values, took = self._values, told.completion
        values[self._answers] += 1.0
        values[self._in] += took.tokens_in
        values[self._out] += took.tokens_out
        values[self._attempts] += took.attempts
        values[self._open] = float(self._model.endpoint.breaker.open)
        self._seconds.observe(took.seconds)
        self._cost.observe(took.cost)
        values[self._squares] += took.cost * took.cost
        if took.cost > 0:
            self._paid(took.cost)
        if took.first_token_seconds is not None:
            self._first.observe(took.first_token_seconds)
        if told.fault:
            self.failed("schema")

    def _paid(self, cost: float) -> None:
        """Only a prompt that has a price has these series."""
        if not self._capped:
            name = "sluice_llm_answer_cost_capped_sum"
            self._capped = [(float(b), self._metrics.counter(name, **self._who, most=b)) for b in BOUNDS]
        for bound, at in self._capped:
            self._values[at] += min(cost, bound)

    def judged(self, told: Told, sample: float = SAMPLE) -> None:
        """Look at an answer by rules, and at a `sample` of those with sources claim by claim; it was given already."""
        text = told.completion.text
        if told.passages and random.random() < sample and (found_claims := claims(text[:_ANSWER], _cut(told.passages))):
            self._unsupported.observe(sum(not c.supported for c in found_claims) / len(found_claims))
        if refuses(text):
            self._values[self._refusals] += 1.0
        rules = {f"pii:{f.kind}" for f in found(text)} | ({"toxicity"} if _TOXICITY.found(text) else set())
        for rule in rules:
            self._values[self._metrics.counter("sluice_llm_flagged_total", **self._who, rule=rule)] += 1.0

    def failed(self, reason: str, times: float = 1.0) -> None:
        """There is no answer, or none that the prompt allows."""
        self._values[self._metrics.counter("sluice_llm_failures_total", **self._who, reason=reason)] += times
        self._values[self._open] = float(self._model.endpoint.breaker.open)


def _cut(passages: tuple[str, ...]) -> list[str]:
    """The first `_SOURCES` characters of the passages together."""
    out, left = [], _SOURCES
    for passage in passages:
        out.append(passage[:left])
        left -= len(out[-1])
        if left <= 0:
            break
    return out
