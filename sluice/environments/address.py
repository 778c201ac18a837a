"""What ``gym://CartPole-v1?rows=2000&episodes=100`` says: which environment, how it is made, what is logged and what is judged."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import parse_qsl, unquote

from sluice.core.errors import DataError

SCHEME = "gym"
#: Whole numbers that an address may give, with the least and the most of each; any other key is the environment's own.
BOUNDS = {"rows": (50, 1_000_000), "seed": (0, 2**32 - 1), "episodes": (2, 10_000), "max_steps": (1, 1_000_000)}
#: Steps at which an episode ends of an environment that has no limit of its own.
LONGEST = 1000


@dataclasses.dataclass(frozen=True)
class Address:
    """An environment and what is asked of it.

    Attributes:
        id: as gymnasium knows it; ``my_module:Grid-v0`` imports a module that registers it.
        options: what the environment is made with.
        rows: observations that the reference policy logs.
        seed: of the reference policy, and of the episodes that are judged.
        episodes: how many are judged.
        max_steps: at which an episode is cut; None: as the environment says.
    """

    id: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows: int = 5000
    seed: int = 17
    episodes: int = 100
    max_steps: int | None = None


def address_of(uri: str, field: str = "data.source") -> Address:
    """An address taken apart.

    Raises:
        DataError: it is of another scheme, names no environment, or a number is none or out of its bounds.
    """
    scheme, _, rest = uri.partition("://")
    name, _, query = rest.partition("?")
    if scheme.lower() != SCHEME or not name.strip("/"):
        raise DataError("names no environment", field=field, value=uri, fix=f"{SCHEME}://CartPole-v1")
    found: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key in BOUNDS:
            found[key] = _whole(key, text, field)
        else:
            options[key] = _value(text)
    return Address(unquote(name.strip("/")), options, **found)


def _whole(key: str, text: str, field: str) -> int:
    low, high = BOUNDS[key]
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise DataError(f"is no whole number from {low} to {high}", field=f"{field}, {key}", value=text, fix=f"{key}={max(low, 100)}")
    return int(text)


def _value(text: str) -> Any:
    """JSON where it is such, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
