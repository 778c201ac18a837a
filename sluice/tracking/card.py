"""A model card: what a person, and MLflow's pages, read of a registered version.

The headings follow Mitchell et al.: Model cards for model reporting (FAT* 2019), as far as a package and its gates tell.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sluice import __version__
from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.gate import Gate
from sluice.fields import fields_of, processor_class
from sluice.package.package import Package
from sluice.proof.config import CardConfig
from sluice.proof.record import measured
from sluice.report.card import REASON, Part, cell, html, markdown
from sluice.report.page import document

#: MLflow keeps so many characters of a description; parts that are in the whole card alone.
_NOTHING = CardConfig()
_MOST, _LONG = 5000, ("Metrics", "Slices", "References")
_NUMPY = {d.name: np.dtype(d.numpy).name for d in TABLE}


@dataclasses.dataclass(frozen=True)
class Card:
    """What is told of a package.

    Attributes:
        package: it. source: where its data came from, as the project says it.
        gates: of the steps before, in pipeline order. lineage: digests and the git commit.
        told: what the project says of it. made: rows on where it came from. proof: the files that lie beside the package.
    """

    package: Package
    source: str
    gates: Sequence[Gate]
    lineage: Mapping[str, str]
    told: CardConfig = _NOTHING
    made: Sequence[tuple[str, str]] = ()
    proof: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def _evidence(self, step: str) -> Mapping[str, Any]:
        return next((g.evidence for g in self.gates if g.step == step), {})

    def description(self) -> str:
        """Markdown of at most 5,000 characters."""
        parts = self.parts()
        text = markdown([p for p in parts if p["title"] not in _LONG])
        return text if len(text) <= _MOST else text[: _MOST - 1] + "…"

    def markdown(self) -> str:
        """The whole card as Markdown."""
        return f"# {self.package.name}\n\n{markdown(self.parts())}\n"

    def html(self) -> str:
        """The whole card as a page of its own."""
        return document(f"{self.package.name}: model card", f"<h1>{escape(self.package.name)}</h1>{html(self.parts())}")

    def parts(self) -> list[Part]:
        """What is told, heading by heading; of what nobody said, nothing."""
        p, told = self.package, self.told
        rows = [
            ("task", f"{p.task}, {p.objective}"),
            ("package", f"{'ONNX, ' if p.graph else ''}{p.precision}, `sha256:{p.digest}`"),
            *self._judged(),
            ("data", self._data()),
        ]
        if p.labels:
            rows.append(("answers", f"{len(p.labels)} labels: " + _listed(p.labels)))
        rows += [(name, text) for name, text in (("licence", told.licence), ("owner", told.owner)) if text]
        rows.append(("made from", ", ".join(f"{k} `{v[:12]}`" for k, v in self.lineage.items() if v) + f", Sluice {__version__}"))
        said = [cell(str(c), REASON) for g in self.gates for c in g.evidence.get("cautions") or ()]
        figures = measured(self.gates)
        whole, parted = [m for m in figures if not m.get("slice")], [m for m in figures if m.get("slice")]
        return [
            {"title": "", "rows": rows},
            {
                "title": "Intended use",
                "items": [*told.uses, *(f"users: {u}" for u in told.users), *(f"not for: {n}" for n in told.not_for)],
            },
            {"title": "Metrics", "table": _figures("metric", [(m["name"], m) for m in whole])} if whole else {"title": "Metrics"},
            {"title": "Slices", "table": _figures(f"{parted[0]['name']} of", [(m["slice"], m) for m in parted])}
            if parted
            else {"title": "Slices"},
            {"title": "Gates", "items": [f"{g.step}: **{g.decision}**" + _because(g) for g in self.gates]},
            {"title": "Limits", "items": list(told.limits)},
            {"title": "Cautions", "items": said},
            {"title": "Ethical considerations", "items": list(told.ethics)},
            {"title": "Provenance", "rows": list(self.made)},
            {"title": "References", "items": list(told.references)},
        ]

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
            rows.append(("against the champion", _versus(compared, "champion", str(compared.get("champion_digest", "")))))
        else:
            rows.append(("against the champion", str(e.get("champion_note") or "not compared")))
        if trivial:
            rows.append(
                (f"against {trivial['name']}", f"{_signed(trivial['difference'])}{_between(trivial, trivial['low'], trivial['high'])}")
            )
        anchor, disturbed = e.get("anchor") or {}, (e.get("robustness") or {}).get("suites") or ()
        if anchor.get("verdict"):
            rows.append(("against the anchor, the best champion so far", _versus(anchor, "anchor", str(anchor.get("digest", "")))))
        if disturbed:
            rows.append(("on disturbed rows", ", ".join(f"{s['suite']} {_number(s['value'])}" for s in disturbed)))
        return rows

    def _data(self) -> str:
        rows = self._evidence("preprocess").get("rows") or {}
        counted = ", ".join(f"{rows[split]:,} {split}" for split in ("train", "validation", "test") if rows.get(split))
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


def _because(gate: Gate) -> str:
    return f", {cell('; '.join(gate.reasons), REASON)}" if gate.reasons else ""


def _figures(head: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """A table of values with their intervals."""
    return [head, "value", "low", "high"], [
        [name, *(_number(m[k]) if m[k] is not None else "" for k in ("value", "low", "high"))] for name, m in found
    ]


def _versus(c: Mapping[str, Any], other: str, digest: str) -> str:
    """What a comparison found, with the numbers that decided."""
    verdict = str(c["verdict"]).replace("_", " ")
    between = f"{_signed(c['difference'])}{_between(c, c['low'], c['high'])}, margin {c['margin']:.3g}"
    return f"{verdict}, {between}, {other} `{digest[:12]}` at {_number(c['champion'])}"
