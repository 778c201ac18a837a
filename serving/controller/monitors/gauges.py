"""What monitors show to Prometheus. All of it comes from statuses, so that it is the same behind a restart."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.controller.monitors.resource import Monitor
from serving.controller.monitors.seen import Quality, Seen, Watched
from sluice.kube.client import Object

#: Features a monitor shows, those that moved most first.
_SHOWN = 200
#: name -> (type, help).
_FAMILIES = {
    "sluice_drift_score": ("gauge", "How far a feature was from the training rows in the last window."),
    "sluice_model_quality": ("gauge", "Of the last window with labels."),
    "sluice_model_quality_floor": ("gauge", "What spec.quality.floor, or spec.retrain.quality, asks for."),
    "sluice_model_quality_rows": ("gauge", "Labelled rows of that window."),
    "sluice_monitor_degraded": ("gauge", "1 while all of the interval of the last window with labels is worse than the floor."),
    "sluice_monitor_errors_rose": ("gauge", "1 while labels say that answers are wrong more often than they were."),
    "sluice_monitor_labelled_share": ("gauge", "Of the predictions within the time that labels may take, how many are labelled."),
    "sluice_monitor_drifted": ("gauge", "1 while a drift alarm stands."),
    "sluice_monitor_rows_total": ("counter", "Predictions read."),
    "sluice_monitor_windows_total": ("counter", "Windows judged."),
    "sluice_monitor_labelled_rows_total": ("counter", "Predictions whose label has come."),
    "sluice_monitor_read_to_timestamp_seconds": ("gauge", "The time of the newest prediction read."),
    "sluice_monitor_label_timestamp_seconds": ("gauge", "The time of the newest prediction with a label."),
    "sluice_monitor_caught_up_timestamp_seconds": ("gauge", "When the log was last read to its end."),
    "sluice_retrainings_total": ("counter", "Retrainings that ended, by what asked for them and what they came to."),
    "sluice_retraining_failures": ("gauge", "How many in a row gave no new model."),
    "sluice_retraining_begun_timestamp_seconds": ("gauge", "When the one that goes on began; nothing where none does."),
}
#: Labels beside namespace, monitor and model.
_LABELS: dict[str, tuple[str, ...]] = {
    "sluice_drift_score": ("version", "feature", "method"),
    "sluice_model_quality": ("version", "metric"),
    "sluice_model_quality_rows": ("version",),
    "sluice_monitor_degraded": ("version",),
    "sluice_monitor_errors_rose": ("version",),
    "sluice_monitor_labelled_share": ("version",),
    "sluice_monitor_drifted": ("version",),
    "sluice_monitor_rows_total": ("version",),
    "sluice_monitor_windows_total": ("version",),
    "sluice_monitor_labelled_rows_total": ("version",),
    "sluice_monitor_read_to_timestamp_seconds": ("version",),
    "sluice_monitor_label_timestamp_seconds": ("version",),
    "sluice_retrainings_total": ("reason", "outcome"),
}
#: Of the resource itself, whether or not its log can be read.
_OF_STATUS = ("sluice_retraining", "sluice_model_quality_floor")
Samples = list[tuple[str, tuple[str, ...], float]]


class Gauges(Collector):
    """The last look of every monitor."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str], tuple[str, Samples]] = {}
        if registry is not None:
            registry.register(self)

    def seen(self, item: Monitor, model: Watched | None, seen: Seen | None, status: Object) -> None:
        """Show a look; of one that could not read, what the log said before stays."""
        key, version = (item.namespace, item.name), model.version if model else str(status.get("version") or "")
        with self._lock:
            before = self._shown.get(key, ("", []))[1]
            samples = [s for s in before if not s[0].startswith(_OF_STATUS)] if seen is None else list(_log(version, seen, before))
            floor = [("sluice_model_quality_floor", (), item.floor)] if item.floor is not None else []
            self._shown[key] = (item.model, [*samples, *floor, *_retrainings(status)])

    def forget(self, namespace: str, name: str) -> None:
        """Show a monitor no more."""
        with self._lock:
            self._shown.pop((namespace, name), None)

    def collect(self) -> Iterable[Metric]:
        """For the page that Prometheus reads."""
        with self._lock:
            shown = dict(self._shown)
        families: dict[str, Metric] = {}
        for name, (kind, told) in _FAMILIES.items():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            families[name] = family(name, told, labels=("namespace", "monitor", "model", *_LABELS.get(name, ())))
        for (namespace, monitor), (model, samples) in shown.items():
            for name, labels, value in samples:
                families[name].add_metric((namespace, monitor, model, *labels), value)  # type: ignore[attr-defined]
        return families.values()


def _log(version: str, seen: Seen, before: Samples) -> Iterator[tuple[str, tuple[str, ...], float]]:
    most = sorted(seen.scores.items(), key=lambda s: -s[1][1])[:_SHOWN]
    yield from (("sluice_drift_score", (version, feature, method), score) for feature, (method, score) in most)
    yield from _quality(version, seen.quality)
    yield "sluice_monitor_drifted", (version,), float(bool(seen.drifted))
    yield "sluice_monitor_rows_total", (version,), seen.rows
    yield "sluice_monitor_windows_total", (version,), seen.windows
    yield "sluice_monitor_labelled_rows_total", (version,), seen.labelled
    if seen.newest is not None:
        yield "sluice_monitor_read_to_timestamp_seconds", (version,), seen.newest
    if seen.newest_label is not None:
        yield "sluice_monitor_label_timestamp_seconds", (version,), seen.newest_label
    if not seen.more:
        yield "sluice_monitor_caught_up_timestamp_seconds", (), seen.looked
    else:
        yield from (s for s in before if s[0] == "sluice_monitor_caught_up_timestamp_seconds")


def _quality(version: str, found: Quality | None) -> Iterator[tuple[str, tuple[str, ...], float]]:
    if found is None:
        return
    yield "sluice_model_quality", (version, found.metric), found.value
    yield "sluice_model_quality_rows", (version,), found.rows
    yield "sluice_monitor_degraded", (version,), float(found.below)
    if not found.unwatched:
        yield "sluice_monitor_errors_rose", (version,), float(bool(found.risen))
    if found.share is not None:
        yield "sluice_monitor_labelled_share", (version,), found.share


def _retrainings(status: Object) -> Iterator[tuple[str, tuple[str, ...], float]]:
    for key, count in (status.get("retrainings") or {}).items():
        reason, _, outcome = key.partition("/")
        yield "sluice_retrainings_total", (reason, outcome), float(count)
    kept = status.get("retraining") or {}
    yield "sluice_retraining_failures", (), float(kept.get("failed") or 0)
    run = kept.get("run")
    if run and run.get("ended") is None:
        yield "sluice_retraining_begun_timestamp_seconds", (), float(run["at"])
