"""The lane of prompts: many wait for an endpoint at a time, on the event loop, each within its deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import numpy as np
import orjson

from serving.runtime.engine.queue import Work
from serving.runtime.errors import Expired, Overloaded, Unavailable
from serving.runtime.metrics import Metrics
from serving.runtime.prompts.meter import Meter
from serving.runtime.prompts.model import Chat, NoAnswer, PromptModel, Told
from sluice.core.errors import SluiceError
from sluice.llm.package import INPUT, OUTPUT

log = logging.getLogger("sluice.serving")

#: Rows of one worker that are asked at a time.
AT_ONCE = 256
#: Seconds past a deadline after which a call is ended from here.
_GRACE = 0.1


class Lane:
    """Asks for work's rows. Not for more than one thread.

    Args:
        limit: requests that may be in it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, metrics: Metrics, limit: int):
        self._loop, self._metrics, self._limit = loop, metrics, limit
        self._tasks: dict[Work, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._meters: dict[str, Meter] = {}
        self._closed = False

    def submit(self, work: Work, chat: Chat | None) -> None:
        """Ask for a request's rows.

        Raises:
            Overloaded: as many requests wait as may. Unavailable: the server is shutting down.
        """
        if self._closed:
            raise Unavailable("the server is shutting down", retry_after=1)
        if len(self._tasks) >= self._limit:
            raise Overloaded(f"{len(self._tasks)} requests wait already", retry_after=2, fix="come back later")
        task = self._tasks[work] = self._loop.create_task(self._work(work, chat or Chat()))
        task.add_done_callback(lambda _: self._tasks.pop(work, None))

    def cancel(self, work: Work) -> None:
        """Nobody waits for it any more."""
        if (task := self._tasks.get(work)) is not None:
            task.cancel()

    def close(self) -> None:
        """Take no more, and end what is in it."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()

    async def _work(self, work: Work, chat: Chat) -> None:
        error: BaseException | None = None
        try:
            rows = [(unit, i) for unit in work.units for i in range(unit.rows)]
            work.counters.wait.observe(time.perf_counter() - work.arrived)
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._row(work, unit.tensors[INPUT][i], chat)) for unit, i in rows]
            work.told = [t.result() for t in asked]
            for (unit, i), told in zip(rows, work.told, strict=True):
                unit.outputs.setdefault(OUTPUT, np.empty(unit.rows, dtype=object))[i] = told.completion.text
        except BaseExceptionGroup as e:
            error = e.exceptions[0]
        except asyncio.CancelledError:
            work.cancelled = True
        if error is not None and not isinstance(error, SluiceError):
            log.error("model %s failed: %s", work.model.name, error, exc_info=error)
        try:
            work.done(error)
        except Exception:
            log.exception("an answer could not be given")

    async def _row(self, work: Work, raw: Any, chat: Chat) -> Told:
        model = work.model
        assert isinstance(model, PromptModel)
        meter = self._meters.get(model.digest)
        if meter is None:
            meter = self._meters[model.digest] = Meter(self._metrics, model)
        try:
            async with asyncio.timeout(None if work.deadline == float("inf") else max(0.0, work.deadline - time.perf_counter()) + _GRACE):
                async with self._turns:
                    told = await model.ask(orjson.loads(raw), chat, work.deadline - time.perf_counter())
        except NoAnswer as e:
            meter.failed(e.kind)
            raise
        except TimeoutError as e:
            meter.failed("timeout")
            raise Expired("the deadline passed before there was an answer", fix="send a later deadline, or fewer requests") from e
        meter.answered(told)
        self._loop.call_soon(meter.judged, told)
        if told.fault:
            raise NoAnswer(told.fault, field="answer", fix="ask again, or loosen the prompt's output schema")
        return told
