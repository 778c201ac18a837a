"""A prompt's package on disk, beside ``model.json``: what whoever serves it reads, and nothing else.

==========================  ==================================================================================
``prompt.json``             `sluice.llm.prompt.Prompt.to_dict`
``endpoint.json``           ``endpoint`` (`EndpointConfig`), ``budget``, ``price``, ``retrieval`` (null: none), ``reported``
``index/passages.jsonl``    where there is retrieval: a passage a line, ``document``, ``start``, ``text``
``index/vectors.npy``       float32 [passages, size], unit length; only with an encoder
``index/model.onnx`` ...    the encoder's own files
==========================  ==================================================================================

``model.json`` is a manifest like any other (`sluice.package`): ``engine`` is ``{"name": "prompt"}``, inputs are ``variables`` BYTES [-1]
(a JSON object a row), the output is ``answer`` BYTES [-1].
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sluice.core import files
from sluice.core.errors import PackageError, ProjectError
from sluice.llm.config import BudgetConfig, EndpointConfig, PriceConfig, RetrievalConfig
from sluice.llm.prompt import Message, Prompt

PROMPT, ENDPOINT, INDEX = "prompt.json", "endpoint.json", "index"
#: Goes before the package's own address.
URL_ENV = "SLUICE_LLM_URL"
#: Of the manifest.
ENGINE, INPUT, OUTPUT, PRECISION = "prompt", "variables", "answer", "prompt"
_LIMIT = 4 << 20


@dataclasses.dataclass(frozen=True)
class PromptPackage:
    """A prompt as it is asked.

    Attributes:
        root: the folder.
        prompt: checked.
        endpoint: where it is asked, with `URL_ENV` in place of its address where that is set.
        budget, price: of its calls.
        retrieval: how passages are found; None: there are none.
        reported: what the endpoint called its model when the package was made.
    """

    root: Path
    prompt: Prompt
    endpoint: EndpointConfig
    budget: BudgetConfig
    price: PriceConfig
    retrieval: RetrievalConfig | None = None
    reported: str = ""

    @classmethod
    def open(cls, root: Path) -> PromptPackage:
        """Read a folder that `sluice.package` has verified. Raises `PackageError`, `MissingExtra`."""
        told = _json(root / ENDPOINT)
        try:
            raw = dict(told["endpoint"])
            retrieval = told.get("retrieval")
            return cls(
                root,
                Prompt.of(_json(root / PROMPT)),
                located(EndpointConfig.model_validate(raw)),
                BudgetConfig.model_validate(told["budget"]),
                PriceConfig.model_validate(told["price"]),
                RetrievalConfig.model_validate(retrieval) if retrieval else None,
                str(told.get("reported", "")),
            )
        except ProjectError as e:
            raise PackageError(e.message, field=f"{root}: {e.field}", fix=e.fix) from e
        except (ValidationError, KeyError, TypeError, ValueError) as e:
            text = (
                "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors()) if isinstance(e, ValidationError) else str(e)
            )
            raise PackageError(
                f"is no endpoint of a prompt: {text}", field=str(root / ENDPOINT), fix=f"make the package again, or mend {URL_ENV}"
            ) from e

    def told(self) -> dict[str, Any]:
        """``endpoint.json``."""
        parts = {"endpoint": self.endpoint, "budget": self.budget, "price": self.price, "retrieval": self.retrieval}
        told: dict[str, Any] = {name: None if part is None else part.model_dump(mode="json") for name, part in parts.items()}
        return told | {"reported": self.reported}

    def write(self) -> None:
        """``prompt.json`` and ``endpoint.json`` into `root`, an existing folder; an index is written by `sluice.llm.retrieval`."""
        files.write_json(self.root / PROMPT, self.prompt.to_dict())
        files.write_json(self.root / ENDPOINT, self.told())

    def messages(self, values: Mapping[str, Any], passages: list[str] | None = None) -> list[Message]:
        """As `Prompt.messages`; who has an index asks it for `passages` first."""
        return self.prompt.messages(values, passages)

    @property
    def model(self) -> str:
        """What the endpoint is asked for: the model's name, with its revision where one is set."""
        return f"{self.endpoint.model}@{self.endpoint.revision}" if self.endpoint.revision else self.endpoint.model


def located(endpoint: EndpointConfig) -> EndpointConfig:
    """An endpoint at the address that this environment has for it. Raises `ValidationError`: `URL_ENV` is no address."""
    url = os.environ.get(URL_ENV)
    return EndpointConfig.model_validate(endpoint.model_dump() | {"url": url}) if url else endpoint


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"is larger than {_LIMIT} bytes")
        found = files.read_json(path)
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
        return found
    except (OSError, ValueError) as e:
        raise PackageError(f"cannot be read: {e}", field=str(path), fix="make the package again") from e
