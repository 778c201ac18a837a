"""A form of the trained model that can be shipped, by name: what it is made from, how, and what its engine needs to open it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sluice.core.datatypes import MODEL, EngineSpec
from sluice.core.errors import ProjectError
from sluice.core.registry import Registry

if TYPE_CHECKING:
    from sluice.formats.config import ExportConfig
    from sluice.learners.base import Trained

#: Every format there is by name; other distributions bring more as entry points of the group ``sluice.formats``, a project's own is ``module:Class``.
FORMATS = Registry(
    "format",
    {
        "fp32": "sluice.formats.fp32:Fp32",
        "fp16": "sluice.formats.fp16:Fp16",
        "int8": "sluice.formats.int8:Int8",
        "int8_dynamic": "sluice.formats.int8_dynamic:Int8Dynamic",
        "pruned": "sluice.formats.pruned:Pruned",
        "torchscript": "sluice.formats.torchscript:TorchScript",
        "tensorrt": "sluice.formats.tensorrt:TensorRT",
    },
)
#: The format that comes first: the graph as it was exported, which every other one is made from, and measured against.
BASE = "fp32"
#: What is tried where a project says nothing.
DEFAULT = ("fp32", "int8")

#: Batches of the graph's own inputs, of training rows; called where a format needs them, since encoding takes time.
Calibration = Callable[[], Sequence[Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Artifact:
    """What a format came to: the graph's bytes, or none and `why` there is none (half a sentence: "the graph has no matrix product")."""

    data: bytes = b""
    why: str = ""


class Format(ABC):
    """A form of the trained model.

    Attributes:
        name: in the project file, in evidence and in the package (its ``precision``).
        of: the format whose graph it is made from; empty for the one that is made from what was exported.
        engine: what opens it, and with which options; written into the package, so it is served without the format's code.
        file: of the package, that the engine opens; what is no ``model.onnx`` is measured as any other, but not looked into.
        budgeted: the setting that its budget is of.
        smaller: whether it is there to be smaller. One that is not (another engine) is packaged where it is named and within its budget, however large.
    """

    name: ClassVar[str]
    of: ClassVar[str] = BASE
    engine: ClassVar[EngineSpec] = EngineSpec("onnxruntime")
    file: ClassVar[str] = MODEL
    budgeted: ClassVar[str] = "export.max_loss"
    smaller: ClassVar[bool] = True

    def about(self, export: ExportConfig, trained: Trained | None) -> Format:
        """The format as it is for one project's settings and one trained model. Default: itself, which needs neither."""
        return self

    def budget(self, export: ExportConfig) -> float:
        """What it may lose of the metric. Default: ``export.max_loss``."""
        return export.max_loss

    def missing(self) -> str:
        """What this machine lacks to make it, half a sentence ("no NVIDIA provider"); empty where nothing: then export goes on without it."""
        return ""

    @abstractmethod
    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """The form, from the graph (ONNX) of the format `of`.

        Inputs and outputs keep their names, types and shapes. Equal arguments give equal bytes, up to names and order.

        Args:
            graph: ONNX, in normal form.
            calibration: gives batches of training rows.

        Raises:
            SluiceError: it cannot be made of this graph; told as the reason why there is none.
        """

    def untried(self, graph: bytes, export: ExportConfig) -> str:
        """Why the form is not even tried where its base may be packaged too, a sentence; empty where it is.

        Args:
            graph: that of the format it is made from.
            export: the project's section.
        """
        return ""


def formats_of(names: Sequence[str], beside: Path | None = None) -> list[Format]:
    """The formats of a project, `BASE` first whether it is named or not, each behind what it is made from.

    Args:
        names: ``export.formats``.
        beside: the project file's folder, where a format of the user's own may lie.

    Raises:
        ProjectError: there is no such format (the nearest is told), or a name stands for none.
    """
    found: dict[str, Format] = {}
    for name in (BASE, *names):
        _add(found, name, beside, ())
    return list(found.values())


def _add(found: dict[str, Format], name: str, beside: Path | None, above: tuple[str, ...]) -> None:
    made = load_format(name, beside)
    if made.name in above:
        raise ProjectError("is made from itself", field="export.formats", value=name, fix=f"set `of` of {type(made).__name__} to {BASE!r}")
    if made.name not in found:
        if made.of:
            _add(found, made.of, beside, (*above, made.name))
        found[made.name] = made


def load_format(name: str, beside: Path | None = None) -> Format:
    """The format of a name. Raises `ProjectError`."""
    kind = FORMATS.get(name, field="export.formats", beside=beside)
    if not (isinstance(kind, type) and issubclass(kind, Format)) or getattr(kind, "__abstractmethods__", None):
        fix = "derive it from sluice.formats.base.Format, give it a name and a make()"
        raise ProjectError("is not a format", field="export.formats", value=name, fix=fix)
    return kind()
