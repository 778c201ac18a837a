"""Where counters come from on a cluster: the pods themselves, or Prometheus."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from serving.controller.rollouts.resource import Rollout
from sluice.core import fetch
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects
from sluice.rollouts import prometheus_text
from sluice.rollouts.costs import CAPPED
from sluice.rollouts.state import Counts

#: Of one read, from connecting to its last byte, and the most bytes of it: a pod's page, and an answer of Prometheus.
_SECONDS = 3.0
_LIMIT_PAGE = 8 << 20
_LIMIT_ANSWER = 16 << 20
_PORT = 8080
#: Older than this many seconds, a sample says nothing about now.
STALE = 90.0


class Source(ABC):
    """Counters of an arm's pods."""

    @abstractmethod
    def counts(self, pods: Sequence[Object], rollout: Rollout, digest: str) -> tuple[dict[str, Counts], str | None]:
        """Counters by pod name; what could not be read is left out, and said in the second value."""


def port_of(pod: Object) -> int:
    """Where the model server itself answers: the scrape annotation if it names a port, else its first port."""
    noted = str((pod["metadata"].get("annotations") or {}).get("prometheus.io/port") or "")
    if (
        re.fullmatch("[0-9]{1,5}", noted)
        and 0 < int(noted) < 1 << 16
        and "prometheus.kserve.io/port" not in (pod["metadata"].get("annotations") or {})
    ):
        return int(noted)
    for c in pod["spec"]["containers"]:
        if c["name"] == "kserve-container":
            return int(next((p["containerPort"] for p in c.get("ports") or [] if p.get("containerPort")), _PORT))
    return _PORT


class Pods(Source):
    """Straight from each ready pod's ``/metrics``.

    Args:
        kube: the API. proxied: go through the API server (from outside the cluster) in place of the pod's address.
    """

    def __init__(self, kube: Objects, *, proxied: bool = False):
        self.kube, self.proxied = kube, proxied

    def counts(self, pods: Sequence[Object], rollout: Rollout, digest: str) -> tuple[dict[str, Counts], str | None]:
        """Counters by pod's name, and in words what could not be read."""
        out: dict[str, Counts] = {}
        said = None
        for pod in pods:
            name = pod["metadata"]["name"]
            if not any(c["type"] == "Ready" and c["status"] == "True" for c in (pod.get("status") or {}).get("conditions") or []):
                continue
            try:
                out[name] = prometheus_text.counts(self.page(pod), rollout.plan.latency_slo_ms / 1e3, outcomes=counts_outcomes(rollout))
            except (SluiceError, OSError) as e:
                said = f"{name}: {e}"
        return out, said

    def page(self, pod: Object) -> str:
        """A pod's metrics page. Raises `SluiceError`, ``OSError``."""
        port = port_of(pod)
        if self.proxied:
            meta = pod["metadata"]
            return self.kube.page(meta["namespace"], meta["name"], port, "metrics")
        host = pod["status"]["podIP"]
        status, body = fetch.get(f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics", seconds=_SECONDS, limit=_LIMIT_PAGE)
        if status != 200:
            raise SluiceError("does not show its counters", field="/metrics", value=status)
        return body.decode("utf-8", "replace")


class Prometheus(Source):
    """From a Prometheus that scrapes the pods, with their ``namespace`` and ``pod`` labels.

    Args:
        url: its base address.
    """

    def __init__(self, url: str):
        self.url = url

    def counts(self, pods: Sequence[Object], rollout: Rollout, digest: str) -> tuple[dict[str, Counts], str | None]:
        """Counters by pod's name, and in words what could not be read."""
        where = f'namespace="{rollout.namespace}",version="{digest[:12]}"'
        outcomes = counts_outcomes(rollout)
        names = "|".join(
            (
                prometheus_text.REQUESTS,
                f"{prometheus_text.SECONDS}_bucket",
                f"{prometheus_text.SECONDS}_count",
                prometheus_text.PREDICTIONS,
                *prometheus_text.USERS,
                *(prometheus_text.OUTCOMES if outcomes else ()),
                *((prometheus_text.PRICED, CAPPED) if rollout.plan.cost is not None else ()),
            )
        )
        try:
            samples = self.query(f'{{__name__=~"{names}",{where}}}')
            if not samples:
                # A model that has answered nothing yet has no series; its info gauge tells it from one nobody scrapes.
                samples = []
            ages = {
                s["metric"].get("pod", ""): time.time() - float(s["value"][1])
                for s in self.query(f"max by (pod) (timestamp(sluice_model_info{{{where}}}))")
            }
        except (SluiceError, OSError) as e:
            return {}, f"Prometheus: {e}"
        pages: dict[str, list[str]] = {}
        for s in samples:
            metric = dict(s["metric"])
            labels = ",".join(f"{k}={json.dumps(v)}" for k, v in metric.items() if k not in ("__name__", "pod", "namespace"))
            pages.setdefault(metric.get("pod", ""), []).append(f"{metric['__name__']}{{{labels}}} {s['value'][1]}")
        out: dict[str, Counts] = {}
        said = None
        for pod in {p["metadata"]["name"] for p in pods}:
            age = ages.get(pod, math.inf)
            if age > STALE:
                said = f"Prometheus has nothing of {pod}" + (f" since {age:.0f} s" if math.isfinite(age) else "")
                continue
            try:
                out[pod] = prometheus_text.counts("\n".join(pages.get(pod, [])), rollout.plan.latency_slo_ms / 1e3, outcomes=outcomes)
            except SluiceError as e:
                said = f"Prometheus lies about {pod}: {e}"
        return out, said

    def query(self, expression: str) -> list[Any]:
        """An instant query's vector. Raises `SluiceError` or ``OSError``."""
        address = f"{self.url.rstrip('/')}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        status, raw = fetch.get(address, seconds=_SECONDS, limit=_LIMIT_ANSWER)
        try:
            body = json.loads(raw)
            if status != 200 or body.get("status") != "success":
                raise SluiceError(f"refused the query: {body.get('error', status)}", field=self.url)
            found: list[Any] = body["data"]["result"]
            return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise OSError(f"{self.url}: {type(e).__name__}: {str(e)[:200]}") from e


def allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether an address is one of `prefixes` or lies below one: same scheme, host and port, and its path on whole segments."""
    parts = _place(url)
    return parts is not None and any(
        (at := _place(p)) is not None and parts[0] == at[0] and parts[1][: len(at[1])] == at[1] for p in prefixes
    )


def _place(url: str) -> tuple[tuple[str, str, int], list[str]] | None:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    path = [p for p in parts.path.split("/") if p]
    if parts.scheme not in ("http", "https") or parts.username is not None or parts.query or parts.fragment or {".", ".."} & set(path):
        return None
    return (parts.scheme, (parts.hostname or "").rstrip("."), port), path


def counts_outcomes(rollout: Rollout) -> bool:
    """Whether outcomes are what the model server counts: the plan has a business outcome, and no queries of its own for it."""
    return rollout.plan.business is not None and not (rollout.spec.get("analysis") or {}).get("business", {}).get("queries")


def business(url: str, queries: dict[str, str], digest: str) -> dict[str, Counts]:
    """Outcomes of an arm in A/B by pod: cumulative count, sum and sum of squares, each by a query with ``$(VERSION)``.

    A query gives one number, or one for each pod (``sum by (pod, group)``): only then is a pod that starts
    over told from outcomes that are gone. With a label ``group`` it is of that group of users.

    Raises:
        SluiceError: a query gives something else, or a number that is not finite.
    """
    source = Prometheus(url)
    out: dict[str, Counts] = {}
    for name, key in (("outcomes", "outcomes"), ("sum", "outcome_sum"), ("squares", "outcome_squares")):
        query = queries.get(name, queries["sum"])
        found = source.query(query.replace("$(VERSION)", digest[:12]))
        values = {(s["metric"].get("pod", ""), s["metric"].get("group", "")): float(s["value"][1]) for s in found}
        if len(values) < len(found) or not all(map(math.isfinite, values.values())):
            raise SluiceError("is not one finite number, or one a pod and group", field=f"business.{name}", value=query)
        for (pod, group), value in values.items():
            into = out.setdefault(pod, {"outcomes": 0.0, "outcome_sum": 0.0, "outcome_squares": 0.0})
            into[key] += value
            prometheus_text.grouped(into, key, {"group": group}, value)
    return out


__all__ = ["KubeFault", "Pods", "Prometheus", "Source", "allowed", "business"]
