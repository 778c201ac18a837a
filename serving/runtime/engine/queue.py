"""The one lane to the processor: what waits, what shares a run, and where the run happens.

A run shares its batch only with requests that wait already; nothing ever waits for company.
A short run happens on the event loop itself (a thread costs two switches, about 0.1 ms); a
longer one, and any of an engine that blocks, goes to the engine's thread, so that health, metrics and refusals are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.runtime.errors import Expired, Overloaded, Unavailable
from serving.runtime.metrics import Metrics
from serving.runtime.models.model import Counters, Model

log = logging.getLogger("sluice.serving")

Tensors = dict[str, np.ndarray]

#: Runs expected to be shorter than this many seconds stay on the event loop.
INLINE = 0.002
#: Waiting units looked through for company, and how much longer the longest may be than the shortest.
_LOOK = 128
_LIKE = 1.25
_SLACK = 4


class Unit:
    """Rows that go through one run together: `tensors` with the batch axis, `length` of the longest row."""

    __slots__ = ("alone", "length", "outputs", "rows", "tensors", "work")

    def __init__(self, tensors: Tensors, rows: int, length: int = 1):
        self.tensors, self.rows, self.length = tensors, rows, length
        self.outputs: Tensors = {}
        #: It was in a batch that failed: it is run again by itself, so that nobody answers for another's rows.
        self.alone = False
        self.work: Work


class Work:
    """A request's units, and what is called when they are answered or cannot be.

    Args:
        order: the row each row of the units, put one behind the other, has in the request; None if that is their order.
        done: called once on the event loop, with the error if there is one.
        deadline: on `time.perf_counter`'s clock.
    """

    __slots__ = ("arrived", "cancelled", "counters", "deadline", "done", "left", "model", "order", "started", "told", "units")

    def __init__(
        self,
        model: Model,
        counters: Counters,
        units: list[Unit],
        order: np.ndarray | None,
        done: Callable[[BaseException | None], None],
        arrived: float,
        deadline: float,
    ):
        self.model, self.counters, self.units, self.order, self.done = model, counters, units, order, done
        self.arrived, self.deadline = arrived, deadline
        self.left = len(units)
        self.started = self.cancelled = False
        #: What each row took, of a prompt.
        self.told: list[Any] = []
        for unit in units:
            unit.work = self

    def outputs(self) -> Tensors:
        """The answers of all units, in the request's order."""
        if len(self.units) == 1 and self.order is None:
            return self.units[0].outputs
        whole = {name: np.concatenate([u.outputs[name] for u in self.units]) for name in self.units[0].outputs}
        if self.order is None:
            return whole
        out = {}
        for name, array in whole.items():
            out[name] = np.empty_like(array)
            out[name][self.order] = array
        return out


class Engine:
    """Runs work in the order it came. Not for more than one thread: everything happens on the loop that made it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, metrics: Metrics, *, queue_limit: int, max_batch: int, inline: float = INLINE):
        self._loop, self._limit, self._max_batch, self._inline = loop, queue_limit, max_batch, inline
        self._waiting: deque[Unit] = deque()
        self.depth = 0
        self._scheduled = self._busy = False
        self._closed = False
        self._values, self._gauge = metrics.values, metrics.counter("sluice_queue_depth")
        self._recent = 0.001
        self._tasks: queue.SimpleQueue[tuple[Model, Tensors, list[Unit]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, work: Work) -> None:
        """Put work behind what waits.

        Raises:
            Overloaded: as many requests wait as may.
        """
        if self._closed:
            raise Unavailable("the server is shutting down", retry_after=1)
        if self.depth >= self._limit:
            wait = math.ceil(max(1.0, self.depth * self._recent))
            raise Overloaded(f"{self.depth} requests wait already", retry_after=min(wait, 60), fix=f"come back in {wait} s")
        self.depth += 1
        self._waiting.extend(work.units)
        self._values[self._gauge] = self.depth
        self._schedule()

    def close(self) -> None:
        """End its thread, after the runs it was already given."""
        self._closed = True
        self._tasks.put(None)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._busy

    def expire(self) -> None:
        """Answer what has waited past its deadline."""
        now = time.perf_counter()
        if any(u.work.deadline < now for u in self._waiting):
            kept: deque[Unit] = deque()
            for unit in self._waiting:
                if not self._gone(unit, now):
                    kept.append(unit)
            self._waiting = kept

    def _schedule(self) -> None:
        # Called soon, not now: what the same poll of the sockets brought gets to wait beside this.
        if not self._scheduled and not self._busy and self._waiting:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        batch = self._take()
        if batch:
            model = batch[0].work.model
            cells = sum(u.rows for u in batch) * max(u.length for u in batch)
            try:
                tensors = merge(model, batch)
            except Exception as e:
                self._answered(batch, None, e, 0.0)
            else:
                if not model.blocking and model.row_seconds * cells < self._inline:
                    self._answered(batch, *timed(model, tensors))
                else:
                    self._busy = True
                    if self._thread is None:
                        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                        self._thread.start()
                    self._tasks.put((model, tensors, batch))
        self._schedule()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            model, tensors, batch = task
            found = timed(model, tensors)
            try:
                self._loop.call_soon_threadsafe(self._returned, batch, *found)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _returned(self, batch: list[Unit], outputs: Tensors | None, error: BaseException | None, seconds: float) -> None:
        self._busy = False
        self._answered(batch, outputs, error, seconds)
        self._schedule()

    def _gone(self, unit: Unit, now: float) -> bool:
        """Whether nobody wants this unit's answer; the deadline's error is given here."""
        work = unit.work
        if work.cancelled:
            self._finish(work, None)
            return True
        if work.deadline < now:
            work.cancelled = True
            self._finish(work, Expired("the deadline passed while the request waited", fix="send fewer requests, or a later deadline"))
            return True
        return False

    def _finish(self, work: Work, error: BaseException | None) -> None:
        if work.left:
            work.left = 0
            self.depth -= 1
            self._values[self._gauge] = self.depth
            try:
                work.done(error)
            except Exception:
                log.exception("an answer could not be given")

    def _take(self) -> list[Unit]:
        now = time.perf_counter()
        waiting = self._waiting
        first = None
        while waiting:
            unit = waiting.popleft()
            if not self._gone(unit, now):
                first = unit
                break
        if first is None:
            return []
        batch = [first]
        if waiting and not first.alone and first.work.model.batches and first.rows < self._max_batch:
            self._company(batch, now)
        for unit in batch:
            if not unit.work.started:
                unit.work.started = True
                unit.work.counters.wait.observe(now - unit.work.arrived)
        return batch

    def _company(self, batch: list[Unit], now: float) -> None:
        first = batch[0]
        model, rows = first.work.model, first.rows
        short = long = first.length
        kept: deque[Unit] = deque()
        for looked, unit in enumerate(self._waiting):
            if looked >= _LOOK or rows >= self._max_batch:
                kept.append(unit)
                continue
            low, high = min(short, unit.length), max(long, unit.length)
            if (
                unit.work.model is not model
                or unit.alone
                or rows + unit.rows > self._max_batch
                or high > low * _LIKE + _SLACK
                or not alike(model, first, unit)
            ):
                kept.append(unit)
            elif not self._gone(unit, now):
                batch.append(unit)
                rows, short, long = rows + unit.rows, low, high
        self._waiting = kept

    def _answered(self, batch: list[Unit], outputs: Tensors | None, error: BaseException | None, seconds: float) -> None:
        if error is not None and len(batch) > 1:
            for unit in batch:
                unit.alone = True
            self._waiting.extendleft(reversed(batch))
            return
        rows = sum(u.rows for u in batch)
        first = batch[0].work
        if error is None and outputs is not None:
            first.counters.batch.observe(rows)
            first.counters.values[first.counters.run] += seconds
            cells = rows * max(u.length for u in batch)
            first.model.row_seconds += 0.2 * (seconds / cells - first.model.row_seconds)
            self._recent += 0.1 * (seconds / len(batch) - self._recent)
        elif error is not None:
            log.error("model %s failed: %s", first.model.name, error.__cause__ or error, exc_info=None if error.__cause__ else error)
        at = 0
        for unit in batch:
            work = unit.work
            if error is not None:
                work.cancelled = True
                self._finish(work, error)
                continue
            assert outputs is not None
            unit.outputs = outputs if len(batch) == 1 else {name: array[at : at + unit.rows] for name, array in outputs.items()}
            at += unit.rows
            if work.left == 1:
                self._finish(work, None)
            elif work.left:
                work.left -= 1


def timed(model: Model, tensors: Tensors) -> tuple[Tensors | None, BaseException | None, float]:
    """(outputs, error, seconds) of one run."""
    begun = time.perf_counter()
    try:
        return model.run(tensors), None, time.perf_counter() - begun
    except Exception as e:
        return None, e, time.perf_counter() - begun


def alike(model: Model, a: Unit, b: Unit) -> bool:
    """Whether two units' tensors can be stacked: the same axes behind the batch, but for what the model pads."""
    for name, left in a.tensors.items():
        right = b.tensors.get(name)
        if right is None or left.dtype != right.dtype or (name not in model.pads and left.shape[1:] != right.shape[1:]):
            return False
    return len(a.tensors) == len(b.tensors)


def merge(model: Model, batch: list[Unit]) -> Tensors:
    """The tensors of a batch, one unit behind the other, shorter rows padded at their end."""
    if len(batch) == 1:
        return batch[0].tensors
    out: dict[str, Any] = {}
    for name in batch[0].tensors:
        parts = [u.tensors[name] for u in batch]
        if name in model.pads and len({p.shape[1] for p in parts}) > 1:
            longest = max(p.shape[1] for p in parts)
            whole = np.full((sum(p.shape[0] for p in parts), longest), model.pads[name], dtype=parts[0].dtype)
            at = 0
            for p in parts:
                whole[at : at + p.shape[0], : p.shape[1]] = p
                at += p.shape[0]
            out[name] = whole
        else:
            out[name] = np.concatenate(parts)
    return out
