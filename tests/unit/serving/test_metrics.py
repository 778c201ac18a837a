"""Counters on shared pages: merged, kept over a restart, valid Prometheus text."""

from __future__ import annotations

import os

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.runtime.metrics import ROWS, Metrics, Page, render, seconds_edges


def samples(pages: list[Page]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(render(pages).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_pages_are_summed_and_histograms_are_cumulative() -> None:
    pages = [Page(), Page()]
    for page in pages:
        m = Metrics(page)
        m.values[m.counter("sluice_predictions_total", model="m", version="v", label='a "b"\n\\')] += 2
        h = m.histogram("sluice_batch_size", ROWS, model="m", version="v")
        for rows in (1, 1, 5, 500):
            h.observe(rows)
    found = samples(pages)
    who = (("model", "m"), ("version", "v"))
    assert found["sluice_predictions_total", (("label", 'a "b"\n\\'), *who)] == 4
    assert found["sluice_batch_size_count", who] == 8 and found["sluice_batch_size_sum", who] == 2 * 507
    assert [found["sluice_batch_size_bucket", (("le", le), *who)] for le in ("1", "4", "8", "128", "+Inf")] == [4, 4, 6, 6, 8]


def test_the_latency_objective_is_an_edge() -> None:
    assert 0.2 in seconds_edges(0.2) and seconds_edges(0.25) == sorted(set(seconds_edges(0.25)))
    page = Page()
    h = Metrics(page).histogram("sluice_inference_duration_seconds", seconds_edges(0.2), model="m", version="v")
    for seconds in (0.2, 0.2000001):
        h.observe(seconds)
    found = samples([page])
    assert found["sluice_inference_duration_seconds_bucket", (("le", "0.2"), ("model", "m"), ("version", "v"))] == 1


def test_a_successor_goes_on_counting_and_starts_gauges_at_zero() -> None:
    page = Page()
    first = Metrics(page)
    first.values[first.counter("sluice_cache_hits_total", model="m", version="v")] += 3
    first.values[first.counter("sluice_inference_in_flight", model="m", version="v")] += 3
    second = Metrics(page)
    second.values[second.counter("sluice_cache_hits_total", model="m", version="v")] += 1
    found = {k[0]: v for k, v in samples([page]).items()}
    assert found["sluice_cache_hits_total"] == 4 and found["sluice_inference_in_flight"] == 0


def test_another_process_adds_to_the_same_page() -> None:
    page = Page()
    pid = os.fork()
    if pid == 0:
        m = Metrics(page)
        m.values[m.counter("sluice_worker_restarts_total")] += 5
        os._exit(0)
    os.waitpid(pid, 0)
    assert samples([page])["sluice_worker_restarts_total", ()] == 5


def test_a_full_page_drops_series_and_counts_them() -> None:
    page = Page()
    m = Metrics(page)
    for i in range(12000):
        m.values[m.counter("sluice_predictions_total", model="m", version="v", label=str(i))] += 1
    found = samples([page])
    kept = sum(1 for k in found if k[0] == "sluice_predictions_total")
    assert 4000 < kept < 12000 and found["sluice_series_dropped_total", ()] == 12000 - kept


def test_unknown_names_are_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Metrics(Page()).counter("sluice_nothing")


def test_a_random_walk_is_the_same_as_numpys() -> None:
    page = Page()
    h = Metrics(page).histogram("sluice_queue_wait_seconds", seconds_edges(0.2), model="m", version="v")
    values = np.random.default_rng(1).exponential(0.1, 1000)
    for v in values:
        h.observe(float(v))
    found = samples([page])
    for edge in seconds_edges(0.2):
        assert found["sluice_queue_wait_seconds_bucket", (("le", f"{edge:g}"), ("model", "m"), ("version", "v"))] == np.sum(values <= edge)
