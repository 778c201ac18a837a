"""A model card: what a person, and MLflow's pages, read of a registered version.

The headings follow Mitchell et al.: Model cards for model reporting (FAT* 2019), as far as a package and its gates tell.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice import __version__
from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.gate import Gate
from sluice.fields import fields_of, processor_class
from sluice.package.package import Package

#: MLflow keeps so many characters of a description.
_MOST = 5000
_REASON = 200
_NUMPY = {d.name: np.dtype(d.numpy).name for d in TABLE}


@dataclasses.dataclass(frozen=True)
class Card:
    """What is told of a package.

    Attributes:
        package: it. source: where its data came from, as the project says it.
        gates: of the steps before, in pipeline order. lineage: digests and the git commit.
    """

    package: Package
    source: str
    gates: Sequence[Gate]
    lineage: Mapping[str, str]

    def _evidence(self, step: str) -> Mapping[str, Any]:
        return next((g.evidence for g in self.gates if g.step == step), {})

    def description(self) -> str:
        """Markdown of at most 5,000 characters."""
        p = self.package
        rows = [
            ("task", f"{p.task}, {p.objective}"),
            ("package", f"ONNX, {p.precision}, `sha256:{p.digest}`"),
            *self._judged(),
            ("data", self._data()),
        ]
        if p.labels:
            rows.append(("answers", f"{len(p.labels)} labels: " + _listed(p.labels)))
        rows.append(("made from", ", ".join(f"{k} `{v[:12]}`" for k, v in self.lineage.items() if v) + f", Sluice {__version__}"))
        head = "| | |\n|---|---|\n" + "\n".join(f"| {_cell(name)} | {_cell(text)} |" for name, text in rows)
        text = (
            head
            + "\n\n**Gates**\n\n"
            + "\n".join(
                f"- {g.step}: **{g.decision}**" + (f", {_cell('; '.join(g.reasons), _REASON)}" if g.reasons else "") for g in self.gates
            )
        )
        said = [str(c) for g in self.gates for c in g.evidence.get("cautions") or ()]
        text += ("\n\n**Cautions**\n\n" + "\n".join(f"- {_cell(c, _REASON)}" for c in said)) if said else ""
        return text if len(text) <= _MOST else text[: _MOST - 1] + "…"

    def _judged(self) -> list[tuple[str, str]]:
        """The deciding metric with its interval, against the champion, and against no model."""
        e = self._evidence("evaluate")
        found, compared, trivial = e.get("evaluation") or {}, e.get("comparison") or {}, (e.get("floor") or {}).get("trivial") or {}
        if not found:
            return []
        rows = [
            (
                str(found["metric"]),
                f"**{_number(found['value'])}**{_between(found, found['low'], found['high'])} on {found['rows']:,} held-out rows",
            )
        ]
        if compared:
            rows.append(
                (
                    "against the champion",
                    f"{str(compared['verdict']).replace('_', ' ')}, {_signed(compared['difference'])}"
                    f"{_between(compared, compared['low'], compared['high'])}, margin {compared['margin']:.3g}, "
                    f"champion `{str(compared.get('champion_digest', ''))[:12]}` {_number(compared['champion'])}",
                )
            )
        else:
            rows.append(("against the champion", str(e.get("champion_note") or "not compared")))
        if trivial:
            rows.append(
                (f"against {trivial['name']}", f"{_signed(trivial['difference'])}{_between(trivial, trivial['low'], trivial['high'])}")
            )
        return rows

    def _data(self) -> str:
        rows = self._evidence("preprocess").get("rows") or {}
        counted = ", ".join(f"{rows[split]:,} {split}" for split in ("train", "validation", "test") if split in rows)
        return f"{self.source}{f' ({counted} rows)' if counted else ''}, digest `{self.lineage.get('data', '')[:12]}`"

    def signature(self) -> dict[str, str]:
        """MLflow's model signature: the rows a client sends, the tensors it gets."""
        return {"inputs": json.dumps(_inputs(self.package)), "outputs": json.dumps([_tensor(t) for t in self.package.outputs])}

    def mlmodel(self, *, model_id: str, run_id: str, at: str) -> str:
        """The text of MLflow's ``MLmodel`` (JSON, which is YAML): signature and where the package is. It names no flavor that MLflow could load.

        Args:
            model_id, run_id: MLflow's. at: the package's address in the store.
        """
        p = self.package
        flavor = {
            "format": p.manifest["format"],
            "digest": f"sha256:{p.digest}",
            "uri": at,
            "precision": p.precision,
            "sluice_version": __version__,
        }
        return json.dumps(
            {
                "artifact_path": at,
                "flavors": {"sluice": flavor},
                "model_id": model_id,
                "model_uuid": p.digest[:32],
                "run_id": run_id,
                "signature": self.signature(),
                "metadata": {"labels": list(p.labels), "task": p.task},
            },
            indent=1,
        )


def schema(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Columns (name -> kind) as MLflow's column specifications."""
    return [{"type": f.column_type, "name": f.name, "required": bool(f.lacks)} for f in fields_of(columns).values()]


def _inputs(package: Package) -> list[dict[str, Any]]:
    spec, processor = package.preprocess, processor_class(package.preprocess)
    if processor.value is not None:
        return schema({processor.value.name: processor.value.kind})
    if "columns" in spec:
        return schema({c["name"]: str(c["type"]) for c in spec["columns"]})
    return [_tensor(t) for t in package.inputs]


def _tensor(t: TensorSpec) -> dict[str, Any]:
    return {"type": "tensor", "name": t.name, "tensor-spec": {"dtype": _NUMPY[t.datatype], "shape": list(t.shape)}}


def _between(of: Mapping[str, Any], low: float | None, high: float | None) -> str:
    return f" ({of.get('confidence', 0.95):.0%} interval {_number(low)} to {_number(high)})" if low is not None and high is not None else ""


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4g}"


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(f"`{n[:40]}`" for n in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _cell(text: str, most: int = 600) -> str:
    """Text that stays inside a cell or an item of Markdown, and is no HTML."""
    flat = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return flat if len(flat) <= most else flat[: most - 1] + "…"
