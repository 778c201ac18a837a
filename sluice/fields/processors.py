"""Which processor a package's ``preprocess`` means, and what of a dataset its rows are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import PackageError, ProjectError
from sluice.fields.base import Processor
from sluice.fields.conversation import ConversationProcessor
from sluice.fields.field import FIELDS
from sluice.fields.tabular import TabularProcessor
from sluice.fields.tensor import TensorProcessor
from sluice.fields.variables import VariablesProcessor

#: Processors whose rows are records. The others are those of a field that a row is alone, found by its kind.
_RECORDS: dict[str, type[Processor]] = {p.kind: p for p in (TabularProcessor, TensorProcessor, VariablesProcessor, ConversationProcessor)}


def processor_class(preprocess: str | Mapping[str, Any]) -> type[Processor]:
    """The processor of a specification (a package's ``preprocess``), or of its kind alone.

    A package's word is found among the kinds that are installed, and never imported as ``module:Class``.

    Raises:
        PackageError: no such kind.
    """
    kind = preprocess if isinstance(preprocess, str) else preprocess.get("kind")
    found: type[Processor] | None = None
    if isinstance(kind, str):
        found = _RECORDS.get(kind)
        if found is None and ":" not in kind:
            try:
                found = FIELDS.get(kind).processor()
            except ProjectError:
                found = None
    if found is None:
        known = [k for k in FIELDS.names() if FIELDS.get(k).processor() is not None]
        raise PackageError(
            "is not a kind of pre-processing", field="preprocess.kind", value=kind, fix=f"one of {', '.join([*known, *_RECORDS])}"
        )
    return found


def load_processor(spec: Mapping[str, Any], root: Path | Mapping[str, bytes]) -> Processor:
    """The processor a package's ``preprocess`` describes.

    Args:
        spec: ``model.json``'s ``preprocess``: its ``kind`` and that kind's settings.
        root: where side files lie: the package's directory, or their bytes by name.

    Raises:
        PackageError: an unknown kind, a setting missing, of a wrong type or out of range, or a
            side file that is missing or unreadable.
    """
    if not isinstance(spec, Mapping):
        raise PackageError("is not an object", field="preprocess", value=spec)
    found = processor_class(spec)

    def side_file(name: str) -> bytes:
        try:
            return root[name] if isinstance(root, Mapping) else (root / name).read_bytes()
        except (OSError, KeyError) as e:
            raise PackageError("side file cannot be read", field=f"preprocess: {name}", value=str(e), fix="copy the package again") from e

    return found.load(spec, side_file)
