"""What became of an answer: the true label, or a business outcome, by request id."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import orjson

from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.http.request import plain_id
from serving.runtime.models.model import Model
from serving.runtime.users import group_of

if TYPE_CHECKING:
    from serving.runtime.logs.answers import Answers

_FIX = 'send {"request_id": "...", "label": "..."} or {"request_id": "...", "outcome": 1.0}, or {"items": [...]} of these'
_LIMIT_ITEMS = 10_000
_LIMIT_LABEL = 1 << 16
_SHOWN = 20
_LIMIT_USER = 1024


def feedback_items(model: Model, body: bytes, outcomes: tuple[float, float], answers: Answers | None = None) -> list[dict[str, Any]]:
    """The items of a feedback request: `request_id`, `row` (0 if left out), `label`, `outcome` or both, and the `group` of a user who is named.

    Args:
        outcomes: the smallest and the largest one.
        answers: those that were given, of which alone there is feedback; None: of any.

    Raises:
        RequestError: an item is incomplete, its user is no text, its label cannot be true of this model's problem, its outcome lies outside
            `outcomes`, or it is of an answer that was never given. Then none of them is taken. TooLarge: too many items.
    """
    try:
        doc = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise RequestError(f"is not JSON: {e}", field="body", fix=_FIX) from e
    given = doc.get("items", [doc]) if type(doc) is dict else None
    if type(given) is not list or not given:
        raise RequestError("must be an object, or a list under items", field="body", fix=_FIX)
    if len(given) > _LIMIT_ITEMS:
        raise TooLarge(f"has more than {_LIMIT_ITEMS} items", field="items", value=len(given), fix="send several requests")
    return [_item(model, item, f"items[{i}]" if "items" in doc else "body", outcomes, answers) for i, item in enumerate(given)]


def _item(model: Model, item: Any, field: str, outcomes: tuple[float, float], answers: Answers | None) -> dict[str, Any]:
    if type(item) is not dict:
        raise RequestError("is not an object", field=field, value=item, fix=_FIX)
    out: dict[str, Any] = {"request_id": item.get("request_id"), "row": item.get("row", 0)}
    if type(out["request_id"]) is not str or not plain_id(out["request_id"]):
        raise RequestError("must be the x-request-id of an answer", field=f"{field}.request_id", value=out["request_id"], fix=_FIX)
    if type(out["row"]) is not int or not 0 <= out["row"] < 1 << 31:
        raise RequestError("must be a whole number of at least 0", field=f"{field}.row", value=out["row"])
    if answers is not None:
        _known(model, item, out, field, answers)
    label, outcome = item.get("label"), item.get("outcome")
    if label is None and outcome is None:
        raise RequestError("has neither label nor outcome", field=field, fix=_FIX)
    if label is not None:
        out["label"] = _label(model, label, f"{field}.label")
    if outcome is not None:
        out["outcome"] = _outcome(outcome, f"{field}.outcome", outcomes)
    if (user := item.get("user")) is not None:
        if type(user) is not str or not 0 < len(user) <= _LIMIT_USER:
            raise RequestError(f"must be a text of at most {_LIMIT_USER} characters", field=f"{field}.user", value=user)
        # Who it was is told to nobody from here on.
        out["group"] = group_of(user.encode("utf-8", "surrogatepass"))
    return out


def _known(model: Model, item: dict[str, Any], of: dict[str, Any], field: str, answers: Answers) -> None:
    receipt = item.get("receipt")
    if receipt is not None and type(receipt) is not str:
        raise RequestError("must be the x-sluice-receipt of the answer", field=f"{field}.receipt", value=receipt)
    rows = answers.rows(model.name, of["request_id"], receipt)
    if rows is None:
        raise RequestError(
            "is not proved by this receipt to be an answer" if receipt else "is no answer of this model that is remembered here",
            field=f"{field}.request_id",
            value=of["request_id"],
            fix="send the answer's x-request-id, and its x-sluice-receipt as receipt, which is good however late it comes",
        )
    if of["row"] >= rows:
        raise RequestError(f"is beyond the answer, which had {rows} rows", field=f"{field}.row", value=of["row"])


def _label(model: Model, label: Any, field: str) -> str:
    """As the log keeps it. Raises `RequestError`: it cannot be true, by what the model's problem allows."""
    with contextlib.suppress(ValueError):  # a number may be the name of a class
        label = model.label_spelling.text(label) if model.classifies else label
    if model.classifies:
        if type(label) is not str or label not in model.labels:
            more = f" and {len(model.labels) - _SHOWN} more" if len(model.labels) > _SHOWN else ""
            fix = f"labels: {', '.join(model.labels[:_SHOWN])}{more}"
            raise RequestError("is not a label of this model", field=field, value=label, fix=fix)
        return label
    try:
        text = str(label) if model.problem is None and type(label) in (str, int, float, bool) else None
        text = model.problem.heard(label, model.labels, model.reference) if model.problem is not None else text
    except ValueError as e:
        raise RequestError(str(e), field=field, value=label, fix="send the true answer, in the unit of the training rows") from e
    if text is None or len(text) > _LIMIT_LABEL:
        raise RequestError(f"must be a text of at most {_LIMIT_LABEL} characters", field=field, value=str(label)[:100])
    return text


def _outcome(outcome: Any, field: str, outcomes: tuple[float, float]) -> float:
    if type(outcome) not in (int, float) or not math.isfinite(outcome):
        raise RequestError("must be a number", field=field, value=outcome)
    if not outcomes[0] <= outcome <= outcomes[1]:
        raise RequestError(
            f"is outside {outcomes[0]:g}..{outcomes[1]:g}",
            field=field,
            value=outcome,
            fix="send it in a larger unit, or start the server with --outcomes LOW HIGH",
        )
    return float(outcome)
