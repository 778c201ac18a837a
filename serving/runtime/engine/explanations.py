"""Explanations of rows, KServe V1's ``:explain``, on a thread of their own: who asks for answers does not wait behind them."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from serving.runtime.errors import Overloaded, RequestError, TooLarge, Unavailable
from serving.runtime.models.model import Model
from serving.runtime.protocols.tensors import loads
from sluice.core.errors import PackageError, ProjectError

log = logging.getLogger("sluice.serving")

#: Rows of one request, and requests that may wait: a row takes thousands of answers of the graph.
MOST_ROWS, MOST_WAITING = 8, 16
_FIX = 'send {"instances": [{"column": value, ...}]}'

Told = Callable[[list[dict[str, Any]] | None, BaseException | None], None]


class Explanations:
    """Explains rows in the order in which they came.

    Args:
        loop: on which answers are given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop, self._waiting = loop, 0
        self._tasks: queue.SimpleQueue[tuple[Model, list[Any], str | None, Told] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: tuple[str, Any] = ("", None)
        self._closed = False

    def ask(self, model: Model, body: bytes, done: Told) -> None:
        """Explain a request's rows; `done` is called on the loop, with the explanations or what went wrong.

        Args:
            model: the one that answers.
            body: ``{"instances": [row, ...]}``, and ``"label"`` for another label than the one that is answered.
            done: is called once.

        Raises:
            RequestError: not of the protocol, or the model's rows or answers cannot be explained. TooLarge: too many rows. Overloaded: as many
                wait as may. Unavailable: the server is shutting down.
        """
        rows, label = _asked(model, body)
        if self._closed:
            raise Unavailable("the server is shutting down", retry_after=1)
        if self._waiting >= MOST_WAITING:
            raise Overloaded(f"{self._waiting} explanations wait already", retry_after=5, fix="come back later")
        self._waiting += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="explanations", daemon=True)
            self._thread.start()
        self._tasks.put((model, rows, label, done))

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            model, rows, label, done = task
            found, error = None, None
            try:
                found = self._explained(model, rows, label)
            except ProjectError as e:  # the client's, in the words of the command line
                error = RequestError(e.message, field=(e.field or "").removeprefix("--").lower(), value=e.value, fix=e.fix)
            except Exception as e:
                error = e  # type: ignore[assignment]
            try:
                self._loop.call_soon_threadsafe(self._told, done, found, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _explained(self, model: Model, rows: list[Any], label: str | None) -> list[dict[str, Any]]:
        if self._last[0] != model.digest:
            from sluice.prediction.explain import Explainer

            try:
                self._last = (model.digest, Explainer(model))
            except PackageError as e:
                raise RequestError(e.message, field="model", value=model.name, fix=e.fix) from e
        model.records.encode_batch(rows)  # type: ignore[union-attr]  # tells the row of an error by its place among all
        return [self._last[1].explain(row, label) for row in rows]

    def _told(self, done: Told, found: list[dict[str, Any]] | None, error: BaseException | None) -> None:
        self._waiting -= 1
        try:
            done(found, error)
        except Exception:
            log.exception("an explanation could not be given")


def _asked(model: Model, body: bytes) -> tuple[list[Any], str | None]:
    """The rows and the label of a request. Raises as `Explanations.ask`."""
    if model.records is None or model.arrays is not None:
        raise RequestError(
            "explains rows of columns, answered by a label or a value", field="model", value=model.name, fix="ask another model"
        )
    doc = loads(body, _FIX, exact=True, decimals=True)
    rows = doc.get("instances") if type(doc) is dict else None
    if type(rows) is not list or not rows:
        raise RequestError("must be a list of at least one row", field="instances", value=rows, fix=_FIX)
    if len(rows) > MOST_ROWS:
        raise TooLarge(f"has more than {MOST_ROWS} rows", field="instances", value=len(rows), fix="send several requests")
    label = doc.get("label")
    if label is not None and type(label) is not str:
        raise RequestError("must be a text", field="label", value=label, fix=f"labels: {', '.join(model.labels[:20]) or 'none'}")
    return rows, label
