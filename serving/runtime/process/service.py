"""What all protocols of a worker share: the models, the engine, the counters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from serving.runtime.engine.budget import Budget
from serving.runtime.engine.explanations import Explanations
from serving.runtime.engine.queue import Engine
from serving.runtime.errors import NotFound, Unavailable
from serving.runtime.metrics import Metrics, Page
from serving.runtime.models.model import Counters, Model
from serving.runtime.settings import Settings

if TYPE_CHECKING:
    from serving.runtime.engine.cache import Cache
    from serving.runtime.logs.access_log import AccessLog
    from serving.runtime.logs.predictions import Predictions
    from serving.runtime.prompts.lane import Lane


class Served:
    """A model that answers now, and its series. Calls hold on to it, so a swap leaves them their version."""

    __slots__ = ("calls", "counters", "details", "metadata", "model")

    def __init__(self, model: Model, counters: Counters):
        self.model, self.counters = model, counters
        self.calls = 0
        self.metadata: dict[str, Any] = model.metadata()
        self.details: dict[str, Any] = model.details()


class Service:
    """The models of this worker by name, and how they are asked."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop, page: Page, pages: list[Page]):
        self.settings, self.loop, self.pages = settings, loop, pages
        self.metrics = Metrics(page)
        self.budget = Budget(settings.max_buffered)
        self.engine = Engine(loop, self.metrics, queue_limit=settings.queue, max_batch=settings.max_batch)
        self.explanations = Explanations(loop)
        #: Of prompts; made when the first one is served, since a server of graphs needs nothing that prompts do.
        self.prompts: Lane | None = None
        self.models: dict[str, Served] = {}
        self.draining = False
        self.calls = 0
        self.cache: Cache | None = None
        self.predictions: Predictions | None = None
        self.access: AccessLog | None = None
        if settings.cache:
            from serving.runtime.engine.cache import Cache

            self.cache = Cache(settings.cache, self.metrics)
        if settings.log_address:
            from serving.runtime.logs.predictions import Predictions

            self.predictions = Predictions(settings.log_address, settings.log_sample, self.metrics)
        if settings.access_log:
            from serving.runtime.logs.access_log import AccessLog

            self.access = AccessLog(settings.access_log, self.metrics)

    def install(self, model: Model) -> None:
        """Serve a model under its name from now on; what was asked of the one before keeps it."""
        if model.remote is not None and self.prompts is None:
            from serving.runtime.prompts.lane import Lane

            self.prompts = Lane(self.loop, self.metrics, self.settings.queue)
        old = self.models.get(model.name)
        counters = Counters(self.metrics, model, self.settings.slo_ms)
        if old is not None:
            old.counters.values[old.counters.info] = 0.0
        counters.values[counters.info] = 1.0
        self.models[model.name] = Served(model, counters)
        if self.cache is not None and old is not None:
            self.cache.forget(old.model.digest)

    def uninstall(self, name: str) -> None:
        """Serve a model no more; one that is not there is no error."""
        old = self.models.pop(name, None)
        if old is not None:
            old.counters.values[old.counters.info] = 0.0

    def served(self, name: str, version: str | None = None) -> Served:
        """Raises `NotFound`: no such model, or it has another version now."""
        found = self.models.get(name)
        if found is None:
            if self.draining:
                raise Unavailable("the server is shutting down", retry_after=1)
            raise NotFound("no such model", field="model", value=name, fix=f"models: {', '.join(sorted(self.models)) or 'none'}")
        if version and not (len(version) >= 8 and found.model.digest.startswith(version.removeprefix("sha256:"))):
            raise NotFound("no such version", field="version", value=version, fix=f"the version served is {found.model.version}")
        return found

    def close(self) -> None:
        """Hand over what logs hold; no call is in flight any more."""
        self.engine.close()
        self.explanations.close()
        if self.prompts is not None:
            self.prompts.close()
        if self.predictions is not None:
            self.predictions.close()
        if self.access is not None:
            self.access.close()

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: models are loaded and warm, and no shutdown has begun."""
        return bool(self.models) and not self.draining

    def deadline(self, milliseconds: float | None) -> float | None:
        """Seconds a request may take: its own wish, or the server's default."""
        return self.settings.deadline if milliseconds is None else milliseconds / 1e3
