"""A prompt as a model of the server: nothing is computed here, an endpoint is asked."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.runtime.errors import RequestError
from serving.runtime.models.model import Model
from serving.runtime.protocols.tensors import texts
from sluice.core.errors import ProjectError
from sluice.llm.asking import Asker, endpoint_of
from sluice.llm.budget import Budget
from sluice.llm.endpoint import Messages
from sluice.llm.failures import EndpointError
from sluice.llm.package import INPUT, OUTPUT, PromptPackage
from sluice.llm.protocol import Completion
from sluice.package.package import Package

#: The statuses by which a client is told why there is no answer; what is our own fault or the endpoint's is no client's (502).
_STATUS = {"limited": 429, "budget": 429, "breaker_open": 503, "timeout": 504}
SCHEMA = "schema"


class NoAnswer(RequestError):
    """The endpoint gave none, or one that the prompt does not allow: `kind` says which."""

    status = 502

    def __init__(self, message: str, *, kind: str = SCHEMA, **where: Any):
        super().__init__(message, **where)
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Told:
    """An answer with what it took.

    Attributes:
        completion: the endpoint's.
        passages: the texts that retrieval put into the prompt.
        fault: what is wrong with it by the prompt's schema; "" where nothing is.
    """

    completion: Completion
    passages: tuple[str, ...]
    fault: str


@dataclasses.dataclass(frozen=True)
class Chat:
    """What a chat client adds to a prompt's values.

    Attributes:
        history: turns before the question.
        parameters: of this call, in place of the prompt's.
        piece: is told each piece of the answer as it comes; None: the whole is waited for.
    """

    history: Messages = ()
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    piece: Callable[[str], None] | None = None


class PromptModel(Model):
    """A served prompt.

    Args:
        package: the verified package.
        name: in URLs and metrics.
        scratch: a folder that the workers of this server share: what they spend is counted there.

    Raises:
        PackageError: the package is damaged.
    """

    def __init__(self, package: Package, name: str, scratch: str | None = None):
        self._describe(package, name, inferred=False)
        self.batches, self.blocking, self.pads, self.tokens, self.tables = False, True, {}, (), {}
        self.prompt = PromptPackage.open(package.root)
        self.remote = self
        self._asker = Asker(self.prompt, complete=_never)
        budget = self.prompt.budget
        # A folder of its own: files that lie long beside asynchronous results are swept with these.
        kept = Path(scratch) / "budgets" if scratch else None
        if kept is not None:
            kept.mkdir(exist_ok=True)
        self.budget = Budget(budget.tokens, budget.cost, kept / self.digest if kept is not None else None)
        self.endpoint = endpoint_of(self.prompt)
        self.endpoint.budget = self.budget

    @property
    def question(self) -> str | None:
        """The one text that has to be sent: what a chat client's last message is. None where there are several, or none."""
        needed = [n for n, v in self.prompt.prompt.variables.items() if v.type == "string" and v.required and v.default is None]
        return needed[0] if len(needed) == 1 else None

    async def ask(self, values: Mapping[str, Any], chat: Chat, deadline: float) -> Told:
        """An answer.

        Args:
            values: of the prompt's variables.
            chat: what a chat client adds.
            deadline: seconds from now; infinite: the endpoint's own.

        Raises:
            InputError: values that do not fit. NoAnswer: there is none.
        """
        until = time.perf_counter() + min(deadline, self.endpoint.timeouts.deadline)
        make = self._asker.messages
        messages, passages = await asyncio.to_thread(make, values) if self.prompt.retrieval else make(values)
        asked: Messages = [*messages[:-1], *chat.history, messages[-1]]
        parameters = {**self.prompt.prompt.parameters, **chat.parameters}
        try:
            found = await self._completed(asked, parameters, until - time.perf_counter(), chat.piece)
        except EndpointError as e:
            raise explained(e) from e
        except ProjectError as e:  # no key, or a parameter that cannot be sent: nothing that a client could mend
            raise NoAnswer(e.message, kind="refused", field=e.field, fix=e.fix) from e
        return Told(found, tuple(p.text for p in passages), self.prompt.prompt.check(found.text).fault)

    async def _completed(
        self, messages: Messages, parameters: Mapping[str, Any], deadline: float, piece: Callable[[str], None] | None
    ) -> Completion:
        if piece is None:
            return await self.endpoint.acomplete(messages, parameters, deadline)
        async with contextlib.aclosing(self.endpoint.astream(messages, parameters, deadline)) as pieces:  # type: ignore[type-var]
            async for part in pieces:
                if isinstance(part, Completion):
                    return part
                piece(part)
        raise AssertionError("a stream ends with its completion or an error")

    def rows_of(self, tensors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Rows of V2 inputs that are called as the prompt's variables, a value a row each.

        Raises:
            RequestError: another name, or inputs of different lengths.
        """
        variables = self.prompt.prompt.variables
        columns: dict[str, list[Any]] = {}
        for name, array in tensors.items():
            if name not in variables:
                raise RequestError("is no variable of this prompt", field=f"inputs.{name}", fix=f"variables: {', '.join(variables)}")
            wide = variables[name].type == "strings"
            if array.ndim not in ((2,) if wide else (1, 2)) or not array.size or (array.ndim == 2 and array.shape[1] != 1 and not wide):
                raise RequestError(f"has shape {list(array.shape)}", field=f"inputs.{name}.shape", fix="send [rows]")
            values = texts(array.ravel().tolist(), f"inputs.{name}.data") if array.dtype == object else array.ravel().tolist()
            size = array.shape[1] if wide else 1
            columns[name] = [values[i : i + size] for i in range(0, len(values), size)] if wide else values
        if len({len(c) for c in columns.values()}) > 1:
            raise RequestError("do not have one number of rows", field="inputs", value={n: len(c) for n, c in columns.items()})
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Never: rows are asked by `ask`, many at a time."""
        raise AssertionError("a prompt is asked, not run")

    def metadata(self) -> dict[str, Any]:
        """As V2 gives it, the variables beside the one input that holds them all as JSON."""
        kinds = {"integer": "INT64", "number": "FP64", "boolean": "BOOL"}
        variables = self.prompt.prompt.variables.items()
        listed = [
            {"name": n, "datatype": kinds.get(v.type, "BYTES"), "shape": [-1, -1] if v.type == "strings" else [-1]} for n, v in variables
        ]
        inputs = [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}, *listed]
        outputs = [{"name": OUTPUT, "datatype": "BYTES", "shape": [-1]}]
        return {"name": self.name, "versions": [self.version], "platform": "sluice_prompt", "inputs": inputs, "outputs": outputs}

    def details(self) -> dict[str, Any]:
        """What V2's metadata has no place for."""
        told, prompt = super().details(), self.prompt.prompt
        schema = {n: v.model_dump(mode="json") for n, v in prompt.variables.items()}
        return {**told, "prompt": {"digest": prompt.digest, "model": self.prompt.model, "variables": schema, "output": prompt.file.output}}


def explained(error: EndpointError) -> NoAnswer:
    """An endpoint's failure as a client is told it."""
    where: dict[str, Any] = {"field": error.field} if error.field else {}
    return NoAnswer(
        error.message, kind=error.kind, status=_STATUS.get(error.kind, 502), retry_after=error.retry_after, fix=error.fix, **where
    )


def _never(*_: Any, **__: Any) -> Completion:
    raise AssertionError("the server asks by coroutines")


def question_of(values: Sequence[Any]) -> str:
    """A message's text: OpenAI's ``content`` is a text, or a list of parts of which texts are taken.

    Raises:
        RequestError: another part than text.
    """
    out = []
    for part in values:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise RequestError("must be parts of type text", field="messages.content", value=part, fix="send a text")
        out.append(part["text"])
    return "".join(out)
