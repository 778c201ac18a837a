"""OpenAI's chat protocol over a served prompt: what a client says fills the prompt's variables, and the answer is the one that was judged.

The prompt decides system message, examples and parameters; a client who sends its own is told so, since no evaluation was made of that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from serving.runtime.errors import NotFound, RequestError, status_of
from serving.runtime.http.request import JSON, Exchange, dumps_error
from serving.runtime.prompts.model import Chat, PromptModel, question_of
from serving.runtime.protocols.tensors import loads
from sluice.core.errors import InputError

if TYPE_CHECKING:
    from serving.runtime.engine.inference import Call
    from serving.runtime.prompts.model import Told

_FIX = 'send {"model": ..., "messages": [{"role": "user", "content": "..."}]}, or "variables": {...} beside it'
#: What a client may send beside: read, or of no consequence for an answer.
_TAKEN = (
    "model",
    "messages",
    "variables",
    "stream",
    "stream_options",
    "user",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "metadata",
    "store",
)
_MOST_TURNS = 200


def parse(body: bytes) -> dict[str, Any]:
    """The request's document. Raises `RequestError`."""
    doc = loads(body, _FIX)
    if type(doc) is not dict:
        raise RequestError("must be an object", field="body", value=doc, fix=_FIX)
    return doc


def model_of(doc: dict[str, Any], served: dict[str, Any]) -> str:
    """The name of the served prompt that is asked; a server of one prompt needs no name. Raises `RequestError`."""
    prompts = sorted(n for n, s in served.items() if isinstance(s.model, PromptModel))
    name = doc.get("model")
    if name is None and len(prompts) == 1:
        return prompts[0]
    if type(name) is not str or name not in prompts:
        raise NotFound("is no prompt that is served here", field="model", value=name, fix=f"prompts: {', '.join(prompts) or 'none'}")
    return name


class Asked:
    """A chat request, read.

    Args:
        model: that is asked.
        doc: the request.

    Attributes:
        values: of the prompt's variables.
        history: turns before the question.
        parameters: of this call.
        stream, usage: the answer comes in pieces; its usage behind them.

    Raises:
        RequestError: no chat request, or one that would change the prompt.
    """

    def __init__(self, model: PromptModel, doc: dict[str, Any]):
        self._model = model
        self.stream, self.usage = _flag(doc, "stream"), _flag(doc.get("stream_options") or {}, "include_usage")
        self.history, self.values = self._said(doc)
        self.parameters = self._parameters(doc)

    def _said(self, doc: dict[str, Any]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        variables, messages = doc.get("variables"), doc.get("messages", [])
        if type(messages) is not list or len(messages) > _MOST_TURNS:
            raise RequestError(f"must be a list of at most {_MOST_TURNS}", field="messages", value=messages, fix=_FIX)
        turns = [_turn(m, i) for i, m in enumerate(messages)]
        if variables is not None:
            if type(variables) is not dict:
                raise RequestError("must be an object", field="variables", value=variables, fix=_FIX)
            return turns, variables
        if not turns or turns[-1]["role"] != "user":
            raise RequestError("must end with a message of the user", field="messages", fix=_FIX)
        name = self._model.question
        if name is None:
            known = ", ".join(self._model.prompt.prompt.variables) or "none"
            raise RequestError("is missing: this prompt has not just one text to fill in", field="variables", fix=f"variables: {known}")
        return turns[:-1], {name: turns[-1]["content"]}

    def _parameters(self, doc: dict[str, Any]) -> dict[str, Any]:
        fixed = self._model.prompt.prompt.parameters
        for name, value in doc.items():
            if name not in _TAKEN and value is not None and (name not in fixed or fixed[name] != value):
                says = f"it is {fixed[name]}" if name in fixed else "it has none"
                raise RequestError("is the prompt's to decide", field=name, value=value, fix=f"leave it out; {says}")
        if doc.get("n") not in (None, 1):
            raise RequestError("must be 1", field="n", value=doc["n"], fix="send several requests")
        out: dict[str, Any] = {}
        for name in ("max_tokens", "max_completion_tokens"):
            value = doc.get(name)
            if value is None:
                continue
            if type(value) is not int or value < 1:
                raise RequestError("must be a whole number of at least 1", field=name, value=value)
            ours = next((n for n in ("max_completion_tokens", "max_tokens") if n in fixed), name)
            out[ours] = min(value, fixed.get(ours, value))
        return out

    def chat(self, answer: Streamed | None) -> Chat:
        """What is added to the prompt. An answer that has to fit a schema is given when that is known, whole."""
        whole = answer is None or self._model.prompt.prompt.file.output is not None
        return Chat(self.history, self.parameters, None if whole else answer.piece)  # type: ignore[union-attr]


def _flag(doc: Any, name: str) -> bool:
    value = doc.get(name, False) if type(doc) is dict else None
    if value is not None and type(value) is not bool:
        raise RequestError("must be true or false", field=name, value=value)
    return value is True


def _turn(message: Any, i: int) -> dict[str, str]:
    field = f"messages[{i}]"
    role = message.get("role") if type(message) is dict else None
    if role in ("system", "developer", "tool"):
        raise RequestError("is the prompt's to say", field=f"{field}.role", value=role, fix="leave it out: the prompt has its own")
    if role not in ("user", "assistant"):
        raise RequestError("must be user or assistant", field=f"{field}.role", value=role, fix=_FIX)
    content = message.get("content")
    if type(content) is list:
        content = question_of(content)
    if type(content) is not str:
        raise RequestError("must be a text", field=f"{field}.content", value=content, fix=_FIX)
    return {"role": role, "content": content}


def render(call: Call, told: Told) -> bytes:
    """A whole answer."""
    took = told.completion
    message: dict[str, Any] = {"role": "assistant", "content": took.text, "refusal": None}
    if took.tool_calls:
        message["tool_calls"] = list(took.tool_calls)
    choice = {"index": 0, "message": message, "finish_reason": took.finish_reason or "stop", "logprobs": None}
    return orjson.dumps({**_head(call, "chat.completion"), "choices": [choice], "usage": _usage(told)})


def _head(call: Call, kind: str) -> dict[str, Any]:
    model = call.served.model
    return {
        "id": f"chatcmpl-{call.request_id()}",
        "object": kind,
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.version,
    }


def _usage(told: Told) -> dict[str, int]:
    took = told.completion
    return {"prompt_tokens": took.tokens_in, "completion_tokens": took.tokens_out, "total_tokens": took.tokens_in + took.tokens_out}


class Streamed:
    """An answer in server-sent events; its head goes out with the first piece, so what fails before that has a status of its own.

    Args:
        exchange: to be answered.
        extra: header lines.
    """

    def __init__(self, exchange: Exchange, extra: bytes):
        self._exchange, self._extra = exchange, extra
        self.call: Call

    def piece(self, text: str) -> None:
        """A piece of the answer."""
        first = not self._exchange.status
        self._begin()
        self._event({"role": "assistant", "content": text} if first else {"content": text})

    def end(self, told: Told, usage: bool) -> None:
        """The answer is whole."""
        if not self._exchange.status:
            self.piece(told.completion.text)
        took = told.completion
        self._event({"tool_calls": list(took.tool_calls)} if took.tool_calls else {}, took.finish_reason or "stop")
        if usage:
            self._send({**_head(self.call, "chat.completion.chunk"), "choices": [], "usage": _usage(told)})
        self._exchange.end(b"data: [DONE]\n\n")

    def fail(self, error: BaseException) -> None:
        """There is no answer; or no more of it, which is told as an event of its own."""
        if not self._exchange.status:
            fail(self._exchange, error, self._extra)
            return
        self._exchange.end(b"data: " + orjson.dumps(_error(error)) + b"\n\n", cut=True)

    def _begin(self) -> None:
        if not self._exchange.status:
            self._exchange.begin(200, b"text/event-stream; charset=utf-8", self._extra + b"cache-control: no-store\r\n")

    def _event(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        self._send({**_head(self.call, "chat.completion.chunk"), "choices": [choice]})

    def _send(self, doc: dict[str, Any]) -> None:
        self._exchange.part(b"data: " + orjson.dumps(doc) + b"\n\n")


def _error(error: BaseException) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    status = status_of(error)
    body = orjson.loads(dumps_error(error))
    text = "; ".join(str(body[k]) for k in ("error", "fix") if k in body)
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "api_error"
    told = {"message": text, "type": kind, "param": getattr(error, "field", None), "code": getattr(error, "kind", None)}
    return {"error": told}


def fail(exchange: Exchange, error: BaseException, extra: bytes = b"") -> None:
    """Answer with an error in the words of OpenAI's protocol."""
    if isinstance(error, RequestError) and error.retry_after is not None:
        extra += b"retry-after: %d\r\n" % max(1, int(error.retry_after))
    if isinstance(error, InputError) and error.field:
        error.field = error.field.removeprefix("rows[0].")
    exchange.send(status_of(error), orjson.dumps(_error(error)), JSON, extra)
