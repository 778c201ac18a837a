"""What became of an answer: the true label, or a business outcome, by request id."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import orjson

from serving.runtime.errors import RequestError, TooLarge
from serving.runtime.http.request import plain_id
from serving.runtime.models.model import Model
from serving.runtime.users import group_of

_FIX = 'send {"request_id": "...", "label": "..."} or {"request_id": "...", "outcome": 1.0}, or {"items": [...]} of these'
_LIMIT_ITEMS = 10_000
_LIMIT_LABEL = 1024
_LIMIT_USER = 1024


def feedback_items(model: Model, body: bytes, outcomes: tuple[float, float]) -> list[dict[str, Any]]:
    """The items of a feedback request: `request_id`, `row` (0 if left out), `label`, `outcome` or both, and the `group` of a user who is named.

    Raises:
        RequestError: an item is incomplete, its user is no text, its label is none of the model's, or its outcome lies outside `outcomes`. TooLarge: too many items.
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
    return [_item(model, item, f"items[{i}]" if "items" in doc else "body", outcomes) for i, item in enumerate(given)]


def _item(model: Model, item: Any, field: str, outcomes: tuple[float, float]) -> dict[str, Any]:
    if type(item) is not dict:
        raise RequestError("is not an object", field=field, value=item, fix=_FIX)
    out: dict[str, Any] = {"request_id": item.get("request_id"), "row": item.get("row", 0)}
    if type(out["request_id"]) is not str or not plain_id(out["request_id"]):
        raise RequestError("must be the x-request-id of an answer", field=f"{field}.request_id", value=out["request_id"], fix=_FIX)
    if type(out["row"]) is not int or not 0 <= out["row"] < 1 << 31:
        raise RequestError("must be a whole number of at least 0", field=f"{field}.row", value=out["row"])
    label, outcome = item.get("label"), item.get("outcome")
    if label is None and outcome is None:
        raise RequestError("has neither label nor outcome", field=field, fix=_FIX)
    if label is not None:
        with contextlib.suppress(ValueError):  # a number may be the name of a class
            label = model.label_spelling.text(label) if model.classifies else label
        if type(label) is not str or len(label) > _LIMIT_LABEL or (model.classifies and label not in model.labels):
            raise RequestError(
                "is not a label of this model", field=f"{field}.label", value=item["label"], fix=f"labels: {', '.join(model.labels[:20])}"
            )
        out["label"] = label
    if outcome is not None:
        if type(outcome) not in (int, float) or not math.isfinite(outcome):
            raise RequestError("must be a number", field=f"{field}.outcome", value=outcome)
        if not outcomes[0] <= outcome <= outcomes[1]:
            raise RequestError(
                f"is outside {outcomes[0]:g}..{outcomes[1]:g}",
                field=f"{field}.outcome",
                value=outcome,
                fix="send it in a larger unit, or start the server with --outcomes LOW HIGH",
            )
        out["outcome"] = float(outcome)
    if (user := item.get("user")) is not None:
        if type(user) is not str or not 0 < len(user) <= _LIMIT_USER:
            raise RequestError(f"must be a text of at most {_LIMIT_USER} characters", field=f"{field}.user", value=user)
        # Who it was is told to nobody from here on.
        out["group"] = group_of(user.encode("utf-8", "surrogatepass"))
    return out
