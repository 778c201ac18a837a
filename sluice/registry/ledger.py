"""The ledger of comparisons, kept with the model's name in the registry: in `$SLUICE_HOME` here, on the server of a cluster there.

A comparison is a tag of its own, by a key made of what was compared: it is written whole or not at all, two that are written at once do not touch
each other, a step that is run again writes the line that is there, and nothing is ever overwritten.
"""

from __future__ import annotations

from typing import Any

import orjson

from sluice.gates.ledger import HeldOut, Ledger, Line
from sluice.registry.versions import Registry

_LINE, _ROWS = "sluice.compared.", "sluice.rows."
_KEY = 24


def read(registry: Registry, model: str) -> Ledger:
    """All comparisons of a model's name. Raises `RegistryFault`."""
    tags = registry.model_tags(model)
    rows = [HeldOut.read(_parsed(v)) for k, v in tags.items() if k.startswith(_ROWS)]
    known = {h.digest: h for h in rows if h is not None}
    lines = [Line.read(_parsed(v), known) for k, v in tags.items() if k.startswith(_LINE)]
    return Ledger.of(line for line in lines if line is not None)


def add(registry: Registry, model: str, line: Line) -> None:
    """Write a comparison down, unless it is there. Raises `RegistryFault`."""
    there = registry.model_tags(model)
    rows = _ROWS + line.rows.digest[:_KEY]
    for key, value in ((rows, line.rows.to_dict()), (_LINE + line.key, line.to_dict())):
        if key not in there:
            registry.tag_model(model, {key: orjson.dumps(value).decode()})


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return None
