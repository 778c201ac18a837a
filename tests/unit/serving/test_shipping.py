"""Parts of the prediction log and a store that is away: an hour loses nothing, more is bounded and counted, and no request waits."""

from __future__ import annotations

import itertools
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.runtime.logs import prediction_log_writer as writer
from serving.runtime.logs import shipping
from serving.runtime.logs.shipping import Shipping
from serving.runtime.metrics import Page


class Store:
    """A store that may be away, or take a part and lose its answer."""

    def __init__(self) -> None:
        self.now, self.away, self.deaf, self.there, self.tries = 0.0, False, False, {}, 0  # type: ignore[var-annotated]
        self.counted: dict[str, int] = {"written": 0, "failed": 0}
        numbers = itertools.count()
        self.shipping = Shipping(self.put, lambda f: f"{f}/{self.now:08.0f}-{next(numbers)}", self.count, clock=lambda: self.now)

    def put(self, name: str, data: bytes) -> None:
        self.tries += 1
        if self.away:
            raise OSError("refused")
        self.there[name] = data
        if self.deaf:
            raise OSError("no answer")

    def count(self, outcome: str, records: int) -> None:
        self.counted[outcome] += records

    def go(self, until: float, every: float = 0.0) -> None:
        """Send as the thread does, with a part of ten records each `every` seconds."""
        due, send = self.now, self.now
        while self.now < until:
            if every and self.now >= due:
                self.shipping.take("p", f"{self.now:.0f}".encode(), 10)
                due += every
            if self.now >= send:
                while (wait := self.shipping.step()) == 0.0:
                    pass
                send = self.now + (wait or 1.0)
            self.now += 1.0


def test_a_store_that_is_away_for_an_hour_loses_nothing_and_is_not_hammered() -> None:
    store = Store()
    store.go(600, every=30)
    store.away, before = True, store.tries
    store.go(4200, every=30)
    assert 40 < store.tries - before < 80 and len(store.there) == 20
    store.away = False
    store.go(4400)
    assert [int(d) for d in store.there.values()] == list(range(0, 4200, 30)) and store.counted == {"written": 1400, "failed": 0}
    stamps = [int(n[2:10]) for n in store.there]
    assert stamps == sorted(stamps) and all(s >= 4200 - 600 for s, d in zip(stamps, store.there.values(), strict=True) if int(d) > 600), (
        "none is named as of so long ago that a reader takes it for read"
    )


def test_one_that_was_stored_though_the_answer_was_lost_is_stored_once() -> None:
    store = Store()
    store.deaf = True
    store.go(300, every=1000)
    store.deaf = False
    store.go(400)
    assert len(store.there) == 1 and store.counted == {"written": 10, "failed": 0}


def test_what_there_is_no_room_for_is_counted_and_so_is_what_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "MOST", 100)
    store = Store()
    store.away = True
    for i in range(15):
        store.shipping.take("p", bytes([i]) * 10, 1)
    assert store.counted == {"written": 0, "failed": 5}
    store.away = False
    store.shipping.step()
    assert list(store.there.values()) == [bytes([5]) * 10], "the oldest went"
    store.away = True
    store.shipping.close(0.1)
    assert store.counted == {"written": 1, "failed": 14}


def test_a_recorder_takes_records_while_the_store_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, stored = threading.Event(), []

    def put(root: str, name: str, data: bytes) -> None:
        assert hung.wait(20)
        stored.append(name)

    monkeypatch.setattr(writer, "put", put)
    made = writer.Recorder(socket.socket(socket.AF_UNIX), "s3://bucket/log", 30.0, Page())
    assert made._shipping is not None
    made._shipping.start()
    record: dict[str, Any] = {"what": "feedback", "time": 0, "model": "m", "items": [{"request_id": "r", "label": "a"}]}
    for _ in range(3):
        made._take(record, b"", 10)
        made._write(made._parts.popitem()[1])
    assert stored == []
    hung.set()
    made._shipping.close()
    assert len(stored) == 3 and all(Path(n).parent.name == "model=m" for n in stored)
    made._listening.close()
