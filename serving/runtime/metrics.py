"""Counters that outlive the process that counts them, merged over workers (Prometheus text format 0.0.4).

Each worker slot owns a `Page` of memory shared with the parent and the other workers. A worker
adds to its own page without a lock; whoever is asked for ``/metrics`` sums all pages. A worker
that dies leaves its counts, and the one started in its place goes on from them, so counters
never fall while the server lives.
"""

from __future__ import annotations

import bisect
import mmap
import struct
from collections.abc import Iterable, Sequence

import orjson

#: Values (float64) a page holds, and bytes for their names.
_VALUES = 32768
_NAMES = 4 << 20
_USED = struct.Struct("<QQ")
_SIZE = _USED.size + 8 * _VALUES + _NAMES

#: name -> (type, help). Only these may be counted.
CATALOGUE = {
    "sluice_inference_requests_total": ("counter", "Inference requests answered, by HTTP status (gRPC codes as their HTTP equals)."),
    "sluice_inference_duration_seconds": ("histogram", "From the whole request read to the answer written; 200s only."),
    "sluice_inference_in_flight": ("gauge", "Inference requests read and not answered yet."),
    "sluice_queue_depth": ("gauge", "Runs that wait for the engine."),
    "sluice_queue_wait_seconds": ("histogram", "How long a request waited for the engine."),
    "sluice_run_seconds_total": ("counter", "Time in the engine."),
    "sluice_batch_size": ("histogram", "Rows of a run of the engine."),
    "sluice_model_info": ("gauge", "1 for each model served."),
    "sluice_predictions_total": ("counter", "Predictions by label."),
    "sluice_prediction_value": ("histogram", "Predicted values of a regression."),
    "sluice_cache_hits_total": ("counter", "Requests answered from the response cache."),
    "sluice_cache_misses_total": ("counter", "Requests the response cache did not hold."),
    "sluice_cache_bytes": ("gauge", "Bytes the response cache holds."),
    "sluice_prediction_log_records_total": ("counter", "Records of the prediction log and the feedback, by what became of them."),
    "sluice_user_requests_total": ("counter", "Inference requests of known users answered, by group of whole users."),
    "sluice_user_errors_total": ("counter", "Those answered with status 400 or more (499 left out)."),
    "sluice_user_slow_total": ("counter", "Those answered later than the latency objective; 200s only."),
    "sluice_user_odd_labels_total": (
        "counter",
        "Those answered (first) with a label at an odd place of the model's list: how alike one user's answers are.",
    ),
    "sluice_feedback_outcomes_total": (
        "counter",
        "Outcomes told by feedback, counted for the version that took them, by group of whole users where one is known.",
    ),
    "sluice_feedback_outcome_sum": ("counter", "Their sum; falls when one is negative."),
    "sluice_feedback_outcome_squares_sum": ("counter", "The sum of their squares."),
    "sluice_llm_answers_total": ("counter", "Answers of a prompt's endpoint."),
    "sluice_llm_tokens_total": ("counter", "Tokens of those, by direction: in, out."),
    "sluice_llm_answer_cost": ("histogram", "What an answer cost, in the currency of the package's price."),
    "sluice_llm_answer_cost_capped_sum": ("counter", "What answers cost, each counted up to the label most: what a rollout compares."),
    "sluice_llm_answer_cost_squares_sum": ("counter", "The sum of the squares of that, for A/B by cost."),
    "sluice_llm_call_seconds": ("histogram", "How long the endpoint took for an answer, with all attempts."),
    "sluice_llm_first_token_seconds": ("histogram", "Until the first piece of an answer that came in pieces."),
    "sluice_llm_attempts_total": ("counter", "How often the endpoint was asked for those answers."),
    "sluice_llm_failures_total": ("counter", "Questions without an answer that the prompt allows, by reason; schema: it does not fit."),
    "sluice_llm_refusals_total": ("counter", "Answers that begin by saying that they will not help, by rules."),
    "sluice_llm_flagged_total": ("counter", "Answers in which a rule found something: personal data by kind, insults."),
    "sluice_llm_unsupported_share": ("histogram", "Of a sample of answers with sources: the share of claims these do not support."),
    "sluice_llm_breaker_open": ("gauge", "Workers that leave the endpoint alone for now."),
    "sluice_access_log_dropped_total": ("counter", "Lines of the access log that were dropped."),
    "sluice_http_connections": ("gauge", "Open HTTP connections."),
    "sluice_http_refused_total": ("counter", "HTTP exchanges refused before a route was known, by reason."),
    "sluice_model_loads_total": ("counter", "Models loaded or refused while serving."),
    "sluice_worker_restarts_total": ("counter", "Workers started again after they died."),
    "sluice_workers": ("gauge", "Workers that serve."),
    "sluice_series_dropped_total": ("counter", "Series that did not fit the page and are not counted."),
}

#: Edges of latency histograms in seconds; the latency objective is added to them.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Page:
    """One slot's memory: how much is used, the values, and a JSON line for each series."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _SIZE)
        self.values: memoryview[float] = memoryview(self.memory)[_USED.size : _USED.size + 8 * _VALUES].cast("d")

    def series(self) -> list[tuple[str, str, list[float] | None, int]]:
        """(name, labels, histogram edges, first value) of each series."""
        names, _ = _USED.unpack_from(self.memory, 0)
        start = _USED.size + 8 * _VALUES
        return [tuple(orjson.loads(line)) for line in self.memory[start : start + names].split(b"\n") if line]  # type: ignore[misc]

    def add(self, name: str, labels: str, edges: Sequence[float] | None) -> int | None:
        """Room for a series; None when the page is full. The names are committed last, so a reader sees whole lines."""
        names, values = _USED.unpack_from(self.memory, 0)
        line = orjson.dumps([name, labels, edges, values]) + b"\n"
        need = 1 if edges is None else len(edges) + 2
        if values + need > _VALUES or names + len(line) > _NAMES:
            return None
        start = _USED.size + 8 * _VALUES + names
        self.memory[start : start + len(line)] = line
        _USED.pack_into(self.memory, 0, names + len(line), values + need)
        return int(values)


class Metrics:
    """The counters of this process, on its page. Not for more than one writing thread."""

    def __init__(self, page: Page):
        self.values = page.values
        self._page = page
        self._known: dict[tuple[str, str], int] = {}
        for name, labels, _, at in page.series():
            self._known[name, labels] = at
            if CATALOGUE[name][0] == "gauge":
                self.values[at] = 0.0
        #: Where series go that found no room, and where they are counted: made first, while there is some.
        self._lost = _VALUES - 64
        self._dropped = self._place("sluice_series_dropped_total", {}, None)

    def counter(self, name: str, **labels: str) -> int:
        """The place of a counter or gauge: add to `values[place]`."""
        return self._place(name, labels, None)

    def histogram(self, name: str, edges: Sequence[float], **labels: str) -> Histogram:
        """The histogram of these labels, made where there is none. `edges`: upper bounds of its buckets, rising; one above all is added."""
        return Histogram(self.values, self._place(name, labels, edges), edges)

    def _place(self, name: str, labels: dict[str, str], edges: Sequence[float] | None) -> int:
        assert name in CATALOGUE, name
        text = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
        at = self._known.get((name, text))
        if at is None:
            at = self._page.add(name, text, edges) if len(self._known) < _VALUES // 4 else None
            if at is None or at >= self._lost - 32:
                self._known[name, text] = self._lost
                self.values[self._dropped] += 1
                return self._lost
            self._known[name, text] = at
        return at


class Histogram:
    """`observe(value)` adds to the bucket whose edge is the first of at least `value`."""

    __slots__ = ("_at", "_edges", "_sum", "_values")

    def __init__(self, values: memoryview[float], at: int, edges: Sequence[float]):
        self._values, self._at, self._edges, self._sum = values, at, list(edges), at + len(edges) + 1

    def observe(self, value: float) -> None:
        """Count one value, in what the edges are of."""
        self._values[self._at + bisect.bisect_left(self._edges, value)] += 1.0
        self._values[self._sum] += value


def seconds_edges(slo: float) -> list[float]:
    """`SECONDS` with the latency objective among them."""
    return sorted({*SECONDS, round(slo, 9)})


def render(pages: Iterable[Page]) -> bytes:
    """All pages as one Prometheus page; the same series of two workers is one sum."""
    sums: dict[str, dict[tuple[str, tuple[float, ...] | None], list[float]]] = {}
    for page in pages:
        for name, labels, edges, at in page.series():
            key = (labels, None if edges is None else tuple(edges))
            width = 1 if edges is None else len(edges) + 2
            into = sums.setdefault(name, {}).setdefault(key, [0.0] * width)
            found = page.values[at : at + width].tolist()
            if name == "sluice_model_info":
                into[0] = max(into[0], found[0])
            else:
                for i, v in enumerate(found):
                    into[i] += v
    out: list[str] = []
    for name, (kind, about) in CATALOGUE.items():
        if name not in sums:
            continue
        out += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        for (labels, bounds), values in sums[name].items():
            if bounds is None:
                if kind == "gauge" and name == "sluice_model_info" and not values[0]:
                    continue
                out.append(f"{name}{{{labels}}} {values[0]:.17g}" if labels else f"{name} {values[0]:.17g}")
                continue
            before = labels + "," if labels else ""
            total = 0.0
            for edge, count in zip([*(f"{e:g}" for e in bounds), "+Inf"], values, strict=False):
                total += count
                out.append(f'{name}_bucket{{{before}le="{edge}"}} {total:.17g}')
            tail = f"{{{labels}}}" if labels else ""
            out += [f"{name}_sum{tail} {values[-1]:.17g}", f"{name}_count{tail} {total:.17g}"]
    return "\n".join(out).encode() + b"\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
