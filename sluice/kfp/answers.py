"""Reading what Kubeflow Pipelines' API answers, and writing the filters it is asked by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sluice.kfp.errors import EndpointFault


def parsed(data: bytes, where: str) -> dict[str, Any]:
    """An answer's object; nothing is an empty one. Raises `EndpointFault`."""
    try:
        found = json.loads(data) if data.strip() else {}
    except ValueError as e:
        raise EndpointFault(
            "answered something that is not its API (a login page?)",
            field=where,
            value=data[:80].decode(errors="replace"),
            fix="check the address: KFP's API, not another page; and the token",
        ) from e
    if not isinstance(found, dict):
        raise EndpointFault("answered no object", field=where, value=found, fix="check the address")
    return found


def need(found: Mapping[str, Any], key: str, where: str) -> str:
    """A text that an answer must hold. Raises `EndpointFault`."""
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise EndpointFault(f"the answer has no {key}", field=where, value=value, fix="is the endpoint KFP 2.17?")
    return value


def said(data: bytes) -> str:
    """The server's own words on one line, shortened, behind a colon; empty where it says none."""
    try:
        raw = json.loads(data)
        text = str(raw.get("message") or raw.get("error_message") or raw.get("error") or "") if isinstance(raw, dict) else ""
    except ValueError:
        text = ""
    return f": {' '.join(text.split())[:400]}" if text else ""


def named(name: str) -> str:
    """A filter by display name, as JSON text."""
    return where(display_name=name)


def where(unlike: Mapping[str, str] | None = None, **equal: str) -> str:
    """A filter by fields that are equal, or `unlike`, as JSON text."""
    predicates = [{"operation": "EQUALS", "key": k, "string_value": v} for k, v in equal.items()]
    predicates += [{"operation": "NOT_EQUALS", "key": k, "string_value": v} for k, v in (unlike or {}).items()]
    return json.dumps({"predicates": predicates})


def timestamp(text: str | None) -> float:
    """Seconds since 1970 of one of the API's times; 0 for none, and for the year 1 that KFP writes while there is no time yet."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return 0.0
    value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value if math.isfinite(value) and value > 0 else 0.0
