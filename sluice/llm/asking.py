"""Asking a prompt's endpoint: passages found, messages made, the answer read; what was answered is kept by digest, so that asking again costs nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sluice.core import files
from sluice.core.errors import InputError, SluiceError
from sluice.llm.budget import Budget, Price
from sluice.llm.endpoint import Endpoint, Timeouts
from sluice.llm.package import PromptPackage
from sluice.llm.protocol import Completion
from sluice.llm.resilience import Retry
from sluice.llm.retrieval import Index, Passage

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer, or why there is none.

    Attributes:
        text: of the model; "" where there is none.
        value: the JSON it holds, where the prompt asks for such; else the text.
        fault: why it is not what the prompt asks for; empty where it is.
        failure: why there is no answer; empty where there is one.
        tokens, cost, seconds, first_token: of the call that gave it; seconds until the first token are None where it did not come in pieces.
        model: the endpoint's own word for what answered.
        passages: what the prompt was given.
        kept: it was asked before, and cost nothing now.
    """

    text: str = ""
    value: Any = None
    fault: str = ""
    failure: str = ""
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    first_token: float | None = None
    model: str = ""
    passages: tuple[Passage, ...] = ()
    kept: bool = False


def endpoint_of(package: PromptPackage) -> Endpoint:
    """The client of a package's endpoint. Raises `ProjectError`: an address that is none."""
    e = package.endpoint
    return Endpoint(
        e.url,
        package.model,
        e.key_env,
        timeouts=Timeouts(connect=e.connect_seconds, first=e.first_token_seconds, deadline=e.deadline_seconds),
        retry=Retry(attempts=1 + e.retries),
        price=Price(package.price.input, package.price.output),
        budget=Budget(package.budget.tokens, package.budget.cost),
    )


class Asker:
    """A prompt that can be asked, by any number of threads.

    Args:
        package: the prompt with its endpoint.
        kept: a folder of answers by digest; None: nothing is kept.
        complete: stands in for the endpoint's `complete`.
    """

    def __init__(self, package: PromptPackage, kept: Path | None = None, complete: Callable[..., Completion] | None = None):
        self.package, self.kept = package, kept
        self._endpoint = endpoint_of(package) if complete is None else None
        self.complete = complete or self._endpoint.complete  # type: ignore[union-attr]
        self._index = Index.open(package.root, package.retrieval) if package.retrieval else None
        self._lock, self.calls = threading.Lock(), 0

    def close(self) -> None:
        """Close the endpoint's connections."""
        if self._endpoint is not None:
            self._endpoint.close()

    def messages(self, values: Mapping[str, Any]) -> tuple[list[dict[str, str]], tuple[Passage, ...]]:
        """What is sent for a client's values, and the passages in it. Raises `InputError`."""
        found = self._index.search(self._query(values)) if self._index else []
        return self.package.messages(values, [p.text for p in found]), tuple(found)

    def reply(self, values: Mapping[str, Any], sample: int = 0) -> Reply:
        """One answer; what an endpoint does wrong is told in it. Samples of the same values are numbered, so that each is kept by itself.

        Raises:
            InputError: values that do not fit.
            ProjectError: no key where one is named.
        """
        messages, passages = self.messages(values)
        where = None if self.kept is None else self.kept / f"{self._digest(messages, sample)}.json"
        if where is not None and (found := _read(where)) is not None:
            return self._read(found, passages, kept=True)
        parameters = dict(self.package.prompt.parameters)
        if sample and "seed" in parameters:
            parameters["seed"] = int(parameters["seed"]) + sample
        try:
            with self._lock:
                self.calls += 1
            got = self.complete(messages, parameters)
        except SluiceError as e:
            from sluice.llm.failures import EndpointError

            if not isinstance(e, EndpointError):
                raise
            return Reply(failure=f"{type(e).__name__}: {e.message}", passages=passages)
        told = {
            "text": got.text,
            "tokens": got.tokens_in + got.tokens_out,
            "cost": got.cost,
            "seconds": got.seconds,
            "first_token": got.first_token_seconds,
            "model": got.model,
        }
        if where is not None:
            where.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(where, told)
        return self._read(told, passages, kept=False)

    def replies(
        self, rows: Sequence[Mapping[str, Any]], samples: int = 1, said: Callable[[int, int], None] = lambda done, of: None
    ) -> list[list[Reply]]:
        """`samples` answers to each of many values, in their order; `said` is told how many are there. Raises as `reply`."""
        done, lock = [0], threading.Lock()

        def one(at: int) -> Reply:
            reply = self.reply(rows[at // samples], at % samples)
            with lock:
                done[0] += 1
                said(done[0], len(rows) * samples)
            return reply

        with ThreadPoolExecutor(self.package.endpoint.at_once, thread_name_prefix="asking") as pool:
            futures = [pool.submit(one, at) for at in range(len(rows) * samples)]
            try:
                found = [f.result() for f in futures]
            except BaseException:
                for f in futures:
                    f.cancel()
                raise
        return [found[at : at + samples] for at in range(0, len(found), samples)]

    def _query(self, values: Mapping[str, Any]) -> str:
        named = self.package.retrieval.query if self.package.retrieval else None
        texts = [str(v) for n, v in values.items() if isinstance(v, str) and n in self.package.prompt.variables]
        if named is None and len([v for v in self.package.prompt.variables.values() if v.type == "string"]) != 1:
            raise InputError("has several texts, and which is looked up is not said", field="model.retrieval.query", fix="name a variable")
        return str(values.get(named, "")) if named else (texts[0] if texts else "")

    def _digest(self, messages: Sequence[Mapping[str, str]], sample: int) -> str:
        """Over everything that an answer depends on."""
        e = self.package.endpoint
        asked = {"format": _FORMAT, "url": e.url, "model": self.package.model, "reported": self.package.reported, "sample": sample}
        return files.digest_of(asked | {"messages": list(messages), "parameters": self.package.prompt.parameters})

    def _read(self, told: Mapping[str, Any], passages: tuple[Passage, ...], *, kept: bool) -> Reply:
        read = self.package.prompt.check(told["text"])
        rest = {k: told[k] for k in ("tokens", "cost", "seconds", "first_token", "model")}
        return Reply(read.text, read.value, read.fault, passages=passages, kept=kept, **rest)


def _read(path: Path) -> dict[str, Any] | None:
    """An answer that was kept; None where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        found = files.read_json(path)
        if (
            isinstance(found, dict)
            and isinstance(found.get("text"), str)
            and {"tokens", "cost", "seconds", "first_token", "model"} <= set(found)
        ):
            return found
    return None
