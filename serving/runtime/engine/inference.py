"""One question to a model, from whatever protocol: admitted, run or found in the cache, counted, logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtime.engine.queue import Tensors, Unit, Work
from serving.runtime.errors import status_of
from sluice.problems import decision

if TYPE_CHECKING:
    from serving.runtime.process.service import Served, Service

_NEVER = float("inf")


class Call:
    """A question in flight. `start` counts it in; it counts itself out when it is answered.

    Args:
        done: called once with the error if there is one; it renders `outputs` and returns the
            HTTP status that was sent (499: the client was gone).
        request_id: what the prediction log and feedback name it by.
        group: of users, the one whose user asks; None where that is not known.
    """

    __slots__ = (
        "_cache_key",
        "_work",
        "arrived",
        "best",
        "deadline",
        "done",
        "fresh",
        "group",
        "outputs",
        "raw",
        "request_id",
        "served",
        "service",
        "told",
        "trace",
    )

    def __init__(
        self,
        service: Service,
        served: Served,
        done: Callable[[BaseException | None], int],
        arrived: float,
        deadline: float | None,
        request_id: Callable[[], str],
        trace: str | None = None,
        fresh: bool = False,
        group: int | None = None,
    ):
        self.service, self.served, self.done, self.arrived = service, served, done, arrived
        self.deadline = _NEVER if deadline is None else arrived + deadline
        self.request_id, self.trace, self.fresh, self.group = request_id, trace, fresh, group
        self.outputs: Tensors = {}
        self.best: np.ndarray | None = None
        self.raw: Any = None
        self.told: list[Any] = []
        self._work: Work | None = None
        self._cache_key: bytes | None = None
        counters = served.counters
        counters.values[counters.in_flight] += 1.0
        service.calls += 1
        served.calls += 1

    def ask(self, units: list[Unit], order: np.ndarray | None, raw: Any, chat: Any = None) -> None:
        """Answer from the cache or put the units in the queue. `raw`: rows or tensors, as the prediction log keeps them. `chat`: what is added to a prompt.

        Raises:
            RequestError: no room in the queue, or the server is shutting down.
        """
        self.raw = raw
        cache = self.service.cache
        if cache is not None and not self.fresh and self.served.model.remote is None:
            key = self._cache_key = cache.key(self.served.model, units)
            found = cache.get(key)
            counters = self.served.counters
            if found is not None:
                counters.values[counters.hits] += 1.0
                self.outputs = found
                self._finish(None)
                return
            counters.values[counters.misses] += 1.0
        work = self._work = Work(self.served.model, self.served.counters, units, order, self._answered, self.arrived, self.deadline)
        if self.service.prompts is not None and self.served.model.remote is not None:
            self.service.prompts.submit(work, chat)
        else:
            self.service.engine.submit(work)

    def cancel(self) -> None:
        """The client is gone: a run that has not begun is not begun."""
        if self._work is not None:
            self._work.cancelled = True
            if self.service.prompts is not None:
                self.service.prompts.cancel(self._work)

    def _answered(self, error: BaseException | None) -> None:
        work = self._work
        assert work is not None
        if error is None and not work.cancelled:
            self.outputs, self.told = work.outputs(), work.told
            if self._cache_key is not None and self.service.cache is not None:
                self.service.cache.put(self.served.model.digest, self._cache_key, self.outputs)
        self._finish(error)

    def fail(self, error: BaseException) -> None:
        """End the call before it was asked."""
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        served, counters = self.served, self.served.counters
        model = served.model
        counters.values[counters.in_flight] -= 1.0
        self.service.calls -= 1
        served.calls -= 1
        answered = error is None and bool(self.outputs)
        if answered and model.classifies:
            self.best = decision.codes(self.outputs[model.outputs[0]], model.labels, model.rule)
        try:
            status = self.done(error) if answered or error is not None else 499
        except Exception as e:
            status = status_of(e)
            raise
        finally:
            counters.code(status)
            seconds = time.perf_counter() - self.arrived
            if self.group is not None:
                counters.user(self.group, status, seconds, 0 if self.best is None or not self.best.size else int(self.best[0]))
        if status == 200:
            counters.duration.observe(seconds)
            counters.predicted(self.outputs, self.best)
            if self.service.predictions is not None:
                self.service.predictions.record(self)

    def receipt(self) -> bytes:
        """The answer is remembered as given, and this proves it when it is not any more; empty where no feedback is taken."""
        known = self.service.settings.answers
        if known is None:
            return b""
        who = self.served.model.name, self.request_id(), len(self.outputs[self.served.model.outputs[0]])
        known.add(*who)
        return known.receipt(*who)
