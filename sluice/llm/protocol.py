"""OpenAI's chat protocol as far as it is spoken here: the request's body, an answer, a stream's events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sluice.core.errors import ProjectError
from sluice.llm.failures import BadAnswer, ServerFault

_ROLES = ("system", "developer", "user", "assistant", "tool")
#: What a caller does not decide, and what would give several answers at once.
_RESERVED = ("model", "messages", "stream", "stream_options", "n")
_LINE = 1 << 20


@dataclass(frozen=True)
class Completion:
    """An answer.

    Attributes:
        text: what the model said; "" where it called tools alone.
        tokens_in, tokens_out: as the endpoint counts them; estimated, four bytes a token, where it does not (`counted` false).
        cost: by the endpoint's `Price`.
        seconds: from the call to the whole answer, with all attempts and waits.
        first_token_seconds: until the first piece of the answer; None where it did not come in pieces.
        model: the model the endpoint says it is; "" where it does not say.
        finish_reason: ``stop``, ``length``, ``tool_calls``, ...; "" where it does not say.
        tool_calls: as the endpoint gave them.
        attempts: how often it was asked.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cost: float
    seconds: float
    first_token_seconds: float | None
    model: str
    finish_reason: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    attempts: int = 1
    counted: bool = True


@dataclass
class Gathered:
    """An answer as it comes together."""

    text: list[str] = field(default_factory=list)
    model: str = ""
    finish_reason: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    usage: tuple[int, int] | None = None
    done: bool = False


def request(model: str, messages: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any], stream: bool) -> bytes:
    """The body of a call.

    Raises:
        ProjectError: messages that are none, or a parameter that is not the caller's.
    """
    if not messages:
        raise ProjectError("is empty", field="messages", fix='send [{"role": "user", "content": "..."}]')
    for i, message in enumerate(messages):
        if message.get("role") not in _ROLES:
            raise ProjectError(f"must be one of {', '.join(_ROLES)}", field=f"messages[{i}].role", value=message.get("role"))
    for name in _RESERVED:
        if name in parameters:
            raise ProjectError("is not a parameter of a call", field=f"parameters.{name}", value=parameters[name], fix="leave it out")
    body = {"model": model, "messages": list(messages), **parameters, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    try:
        return orjson.dumps(body)
    except TypeError as e:
        raise ProjectError(f"cannot be sent as JSON: {e}", field="messages or parameters") from e


def whole(raw: bytes) -> Gathered:
    """An answer in one piece. Raises `BadAnswer`; `ServerFault` for an error under status 200."""
    doc = _object(raw)
    choice = _first(doc, required=True)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadAnswer("the answer has no message", field="choices[0].message", value=message)
    out = Gathered(done=True)
    _common(out, doc, choice)
    text = message.get("content")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(c, dict) for c in calls):
        raise BadAnswer("must be a list of objects", field="choices[0].message.tool_calls", value=calls)
    if not isinstance(text, str) and not (text is None and calls):
        raise BadAnswer("must be a text", field="choices[0].message.content", value=text)
    out.text, out.tool_calls = [text or ""], calls
    return out


def event(out: Gathered, data: bytes) -> str:
    """Take in one event of a stream. Returns the text it adds, "" where it adds none. Raises as `whole`."""
    if data == b"[DONE]":
        out.done = True
        return ""
    doc = _object(data)
    choice = _first(doc, required=False)
    _common(out, doc, choice)
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise BadAnswer("must be an object", field="choices[0].delta", value=delta)
    _tools(out, delta.get("tool_calls") or [])
    text = delta.get("content")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise BadAnswer("must be a text", field="choices[0].delta.content", value=text)
    out.text.append(text)
    return text


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML, 9.2), one each. Raises `BadAnswer`: a line without an end."""
    rest, data = b"", []
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
        if len(rest) > _LINE:
            raise BadAnswer("an event is longer than is read", field="stream", value=len(rest))
    if data:
        yield b"\n".join(data)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        doc = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise BadAnswer("the answer is not JSON", field="body", fix="look at what answers at endpoint.url") from e
    if not isinstance(doc, dict):
        raise BadAnswer("the answer is no JSON object", field="body")
    if doc.get("error"):
        raise ServerFault("the endpoint answered with an error", field="error")
    return doc


def _first(doc: dict[str, Any], *, required: bool) -> dict[str, Any]:
    choices = doc.get("choices")
    if not required and (choices is None or choices == []):
        return {}
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswer("the answer has no choice", field="choices", value=choices)
    return choices[0]


def _common(out: Gathered, doc: dict[str, Any], choice: dict[str, Any]) -> None:
    for name, of in (("model", doc), ("finish_reason", choice)):
        value = of.get(name)
        if value is not None:
            if not isinstance(value, str) or len(value) > 500:
                raise BadAnswer("must be a short text", field=name, value=value)
            setattr(out, name, value)
    usage = doc.get("usage")
    if usage is not None:
        counts = [usage.get(k) for k in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else [None]
        if not all(type(n) is int and 0 <= n < 1 << 40 for n in counts):
            raise BadAnswer("must count prompt_tokens and completion_tokens", field="usage", value=usage)
        out.usage = int(counts[0]), int(counts[1])  # type: ignore[arg-type]


def _tools(out: Gathered, calls: Any) -> None:
    """Add the pieces of tool calls: arguments come as text in pieces, by index."""
    if not isinstance(calls, list):
        raise BadAnswer("must be a list", field="choices[0].delta.tool_calls", value=calls)
    for call in calls:
        index = call.get("index", len(out.tool_calls)) if isinstance(call, dict) else -1
        if type(index) is not int or not 0 <= index <= min(len(out.tool_calls), 127):
            raise BadAnswer("is no place of a tool call", field="choices[0].delta.tool_calls", value=call)
        if index == len(out.tool_calls):
            out.tool_calls.append({"id": call.get("id"), "type": "function", "function": {"name": "", "arguments": ""}})
        kept, given = out.tool_calls[index]["function"], call.get("function") or {}
        for name in ("name", "arguments"):
            if isinstance(given, dict) and isinstance(given.get(name), str):
                kept[name] += given[name]


def characters(messages: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Bytes of each message's texts."""
    for message in messages:
        yield sum(len(v.encode("utf-8", "replace")) for v in message.values() if isinstance(v, str))
