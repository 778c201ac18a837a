"""The variables of a prompt: a row is a record of them, and the model's input is that record as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import orjson

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError
from sluice.fields.base import Example, Processor, SideFile, only, setting

#: The input's name.
VARIABLES = "variables"


class VariablesProcessor(Processor):
    """Records of named values in, one JSON object a row out; what they may be the prompt itself checks."""

    kind: ClassVar[str] = "variables"
    inputs = (TensorSpec(VARIABLES, "BYTES", (-1,)),)

    def __init__(self, names: Sequence[str]):
        self._names = list(names)

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> Self:
        """``names``. Raises `PackageError`."""
        only(spec, "kind", "names")
        return cls([str(n) for n in setting(spec, "names", list)])

    @classmethod
    def names(cls, spec: Mapping[str, Any]) -> list[str] | None:
        """Those of the prompt's variables."""
        found = spec.get("names")
        return None if found is None else list(found)

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """One JSON object a row; a variable that is null is left out. Raises `InputError`: a row is no record."""
        out = []
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InputError("is no object of variables", field=f"rows[{i}]", value=row, fix=f"send {{{', '.join(self._names)}}}")
            try:
                told = orjson.dumps({str(k): v for k, v in row.items() if v is not None}, option=orjson.OPT_SERIALIZE_NUMPY).decode()
            except TypeError as e:
                raise InputError(f"cannot be sent as JSON: {e}", field=f"rows[{i}]") from e
            out.append({VARIABLES: np.array(told, dtype=object)})
        return out

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """[rows] of texts."""
        return {VARIABLES: np.array([x[VARIABLES].item() for x in examples], dtype=object)}

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self._names)}
