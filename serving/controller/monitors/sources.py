"""What asks for a retraining from outside: Alertmanager's webhook and CloudEvents, over HTTP.

A request becomes an annotation of the ModelMonitor, named by what it is of, so that one that comes again, or by another replica, is the same.
It is answered when it stands there: from then on the leader finds it. Alertmanager and CloudEvents' senders try again on anything else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from serving.controller.monitors.resource import ASKED, MOST_ASKED
from sluice.core.errors import SluiceError
from sluice.kube.client import KubeFault, Object
from sluice.kube.objects import Objects

#: Alerts of one webhook, events of one batch.
MOST = 500
_KIND = "ModelMonitor"


class BadRequest(SluiceError):
    """What was sent is none of what is taken."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One request to train again.

    Attributes:
        by: ``alert`` or ``event``. name: the alert's or the event's type. id: what makes it one of a kind. at: when it began, in seconds
            since the epoch. why: in words. namespace: of the monitors. monitor: its name, or "". model: that it watches, or "".
    """

    by: str
    name: str
    id: str
    at: float
    why: str
    namespace: str
    monitor: str = ""
    model: str = ""

    @property
    def key(self) -> str:
        """The annotation's name."""
        return ASKED + hashlib.sha256(f"{self.by}\0{self.id}".encode()).hexdigest()[:16]


def alerts(body: bytes, namespace: str, now: float) -> list[Request]:
    """Those of Alertmanager's webhook (version 4) that fire, in the namespace their label names, else in `namespace`.

    Raises:
        BadRequest: it is no such thing.
    """
    doc = _json(body)
    given = doc.get("alerts") if isinstance(doc, dict) else None
    if not isinstance(given, list) or doc.get("version") != "4":
        raise BadRequest("is no webhook of Alertmanager in version 4", field="body", fix="use webhook_configs of Alertmanager")
    if len(given) > MOST:
        raise BadRequest(f"has more than {MOST} alerts", field="alerts", value=len(given), fix="set max_alerts in webhook_configs")
    found = []
    for n, one in enumerate(given):
        labels = one.get("labels") if isinstance(one, dict) else None
        if not isinstance(labels, dict) or not isinstance(labels.get("alertname"), str):
            raise BadRequest("has no alertname", field=f"alerts[{n}].labels", value=labels)
        if one.get("status") != "firing" or not (labels.get("monitor") or labels.get("model")):
            continue
        begun = str(one.get("startsAt") or "")
        notes = one.get("annotations") if isinstance(one.get("annotations"), dict) else {}
        name = labels["alertname"]
        key = f"{one.get('fingerprint') or json.dumps(labels, sort_keys=True)}/{begun}"
        text = str(notes.get("summary") or "")[:300]
        where = str(labels.get("namespace") or namespace)
        found.append(
            Request(
                "alert",
                name,
                key,
                _moment(begun, f"alerts[{n}].startsAt", now),
                f"alert {name}: {text}" if text else f"alert {name}",
                where,
                str(labels.get("monitor") or ""),
                str(labels.get("model") or ""),
            )
        )
    return found


def cloud_events(body: bytes, headers: Mapping[str, str], namespace: str, now: float) -> list[Request]:
    """CloudEvents 1.0: structured, a batch, or binary, whose `subject` is the monitor: ``NAME``, or ``NAMESPACE/NAME``.

    Args:
        headers: by their names in lower case.

    Raises:
        BadRequest: they are no such things.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/cloudevents-batch+json":
        given = _json(body)
        if not isinstance(given, list) or len(given) > MOST:
            raise BadRequest(f"is no list of at most {MOST} events", field="body")
    elif kind == "application/cloudevents+json":
        given = [_json(body)]
    elif "ce-specversion" in headers:
        given = [{k.removeprefix("ce-"): v for k, v in headers.items() if k.startswith("ce-")}]
    else:
        fix = "send application/cloudevents+json, application/cloudevents-batch+json, or headers ce-*"
        raise BadRequest("is no CloudEvent", field="content-type", value=kind, fix=fix)
    return [_event(one, f"[{n}]" if len(given) > 1 else "event", namespace, now) for n, one in enumerate(given)]


def _event(one: Any, where: str, namespace: str, now: float) -> Request:
    if not isinstance(one, dict) or one.get("specversion") != "1.0":
        raise BadRequest("is no CloudEvent of version 1.0", field=f"{where}.specversion")
    for name in ("id", "source", "type", "subject"):
        if not isinstance(one.get(name), str) or not 0 < len(one[name]) <= 1024:
            fix = "name the monitor: NAME, or NAMESPACE/NAME" if name == "subject" else None
            raise BadRequest("is required, a text of at most 1024 characters", field=f"{where}.{name}", value=one.get(name), fix=fix)
    space, _, name = one["subject"].rpartition("/")
    at = _moment(str(one.get("time") or ""), f"{where}.time", now)
    return Request(
        "event", one["type"], f"{one['source']}\0{one['id']}", at, f"event {one['type']} of {one['source']}"[:300], space or namespace, name
    )


class Inbox:
    """Writes requests to the monitors they are for.

    Args:
        kube: the API. namespaces: in which monitors are watched; empty: in all.
    """

    def __init__(self, kube: Objects, namespaces: Iterable[str] = ()):
        self.kube, self.namespaces = kube, frozenset(namespaces)

    def take(self, requests: Iterable[Request]) -> dict[str, int]:
        """Have each request stand in its monitors. Returns how many were `taken`, and how many nobody wants (`ignored`).

        Raises:
            KubeFault: the API server does not answer or refuses; all of them may come again.
        """
        told = {"taken": 0, "ignored": 0}
        there: dict[str, list[Object]] = {}
        for one in requests:
            if self.namespaces and one.namespace not in self.namespaces:
                told["ignored"] += 1
                continue
            if one.namespace not in there:
                there[one.namespace] = self.kube.list(_KIND, one.namespace)
            wanted = [m for m in there[one.namespace] if _wants(m, one)]
            told["taken" if wanted else "ignored"] += 1
            for monitor in wanted:
                self._write(monitor, one)
        return told

    def _write(self, monitor: Object, one: Request) -> None:
        meta = monitor["metadata"]
        notes = meta.setdefault("annotations", {}) or {}
        handled = ((monitor.get("status") or {}).get("retraining") or {}).get("handled") or ()
        waiting = sum(k.startswith(ASKED) for k in notes)
        # One that is known needs no second mention; where many wait, the retraining they ask for answers this one too.
        if one.key in notes or one.key.removeprefix(ASKED) in handled or waiting >= MOST_ASKED:
            return
        notes[one.key] = json.dumps({"by": one.by, "at": one.at, "why": one.why})
        meta["annotations"] = notes
        self.kube.merge(_KIND, meta["namespace"], meta["name"], {"metadata": {"annotations": {one.key: notes[one.key]}}})


def _wants(monitor: Object, one: Request) -> bool:
    spec = monitor.get("spec") or {}
    asked = (spec.get("retrain") or {}).get("alerts" if one.by == "alert" else "events") or ()
    named = monitor["metadata"]["name"] == one.monitor if one.monitor else spec.get("model") == one.model
    return one.name in asked and named and not spec.get("suspend")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as e:
        raise BadRequest(f"is not JSON: {e}", field="body") from e


def _moment(text: str, field: str, now: float) -> float:
    """Seconds since the epoch, no later than now: a clock that is ahead makes nothing new."""
    if not text:
        return now
    try:
        found = datetime.fromisoformat(text)
        return min((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), now)
    except (ValueError, OverflowError) as e:
        raise BadRequest("is no time by RFC 3339", field=field, value=text) from e


def fault_of(why: Exception) -> tuple[int, dict[str, Any]]:
    """The status and the body of an answer to what cannot be taken."""
    if isinstance(why, BadRequest):
        return 400, {"error": why.to_dict()}
    if isinstance(why, KubeFault):
        return 503, {"error": {"message": "the API server does not take it now; send it again"}}
    return 500, {"error": {"message": "it failed; see the controller's log"}}
