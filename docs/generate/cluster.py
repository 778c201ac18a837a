"""What a cluster is given, read off manifests and chart: custom resources, metrics, alerts, the chart's values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from docs.generate import schema
from docs.generate.words import cell, sentence, table

ROOT = Path(__file__).resolve().parents[2]


def resources() -> str:
    """Every custom resource with the keys of its spec and its status."""
    out = ["# Custom resources", "Read off `manifests/crds`. `kubectl explain modelrollout.spec` says the same on a cluster."]
    for path in sorted((ROOT / "manifests/crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        if crd.get("kind") != "CustomResourceDefinition":
            continue
        names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
        whole = version["schema"]["openAPIV3Schema"]
        short = ", ".join(f"`{n}`" for n in [names["plural"], *names.get("shortNames", [])])
        out += [
            f"## {names['kind']}",
            f"{sentence(whole.get('description'))} `{crd['spec']['group']}/{version['name']}`; for kubectl {short}.",
        ]
        for part in ("spec", "status"):
            if part in whole["properties"]:
                out += [f"### {names['kind']}: {part}", schema.rows(whole["properties"][part], {}, f"{part}.")]
    return "\n\n".join(out) + "\n"


def metrics() -> str:
    """Every metric that the code counts, by who shows it."""
    out = ["# Metrics", "Read off the code. [Monitoring](../monitoring.md) says who scrapes what."]
    for title, found in metric_names().items():
        rows = [[f"`{name}`", kind, cell(sentence(told))] for name, (kind, told) in sorted(found.items())]
        out += [f"## {title}", table(["metric", "type", "meaning"], rows)]
    return "\n\n".join(out) + "\n"


_WHO = {"serving/runtime": "Model server", "serving": "Controller", "sluice/learners": "Training", "sluice": "Steps", "components": "Steps"}


def metric_names() -> dict[str, dict[str, tuple[str, str]]]:
    """Who shows it -> its name -> its type and what it is."""
    out: dict[str, dict[str, tuple[str, str]]] = {}
    for folder in ("serving", "sluice", "components"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if "sluice_" not in text:
                continue
            place = path.relative_to(ROOT).as_posix()
            who = next(title for start, title in _WHO.items() if place.startswith(start + "/"))
            for name, kind, told in _metrics(ast.parse(text)):
                out.setdefault(who, {})[name] = (kind, told)
    return out


def _metrics(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Of ``{"sluice_x": ("gauge", "...")}`` and ``{"sluice_x": ("...", labels)}``, of ``Gauge("sluice_x", "...")``, and of the training's list of names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                parts = [_text(v) for v in value.elts] if isinstance(value, ast.Tuple) else []
                if key is None or not _text(key).startswith("sluice_") or not parts or not parts[0]:
                    continue
                if parts[0] in ("counter", "gauge", "histogram"):
                    yield _text(key), parts[0], parts[1]
                else:  # what it is, and its labels
                    yield _text(key), "counter" if _text(key).endswith("_total") else "gauge", parts[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Gauge", "gauge", "Counter", "Histogram"):
            name, told = (_text(a) for a in [*node.args, ast.Constant(""), ast.Constant("")][:2])
            if node.func.id == "gauge" and told:  # sluice/learners/torch/telemetry.py
                yield f"sluice_train_{name}", "gauge", told
            elif name.startswith("sluice_"):
                yield name + ("_total" if node.func.id == "Counter" else ""), node.func.id.lower(), told


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def alerts() -> str:
    """Every alert with what it asks of Prometheus, and its runbook where there is one."""
    out = ["# Alerts", "Read off `manifests/monitoring`. The number behind `for` is how long it must hold."]
    for rule in alert_rules():
        name, notes = rule["alert"], rule.get("annotations", {})
        book = runbook(name)
        lines = [
            f"## {name}",
            f"{rule.get('labels', {}).get('severity', '')}, for {rule.get('for', '0m')}. {cell(sentence(notes.get('description')))}"
            + (f" [Runbook]({book})." if book else ""),
            f"```promql\n{rule['expr'].strip()}\n```",
        ]
        out += lines
    return "\n\n".join(out) + "\n"


def alert_rules() -> list[dict[str, Any]]:
    found = []
    for path in sorted((ROOT / "manifests/monitoring").rglob("rules.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            found += [r for g in document["spec"]["groups"] for r in g["rules"] if "alert" in r]
    return found


def runbook(alert: str) -> str | None:
    """The link of an alert's runbook, seen from the reference: a page of its name, or a heading in one."""
    for path in sorted((ROOT / "docs/runbooks").glob("*.md")):
        if path.stem.replace("-", "").lower() in (alert.lower(), alert.removeprefix("Sluice").lower()):
            return f"../runbooks/{path.name}"
        if re.search(rf"(?m)^#+ .*\b{alert}\b", path.read_text()):
            return f"../runbooks/{path.name}#{alert.lower()}"
    return None


def values() -> str:
    """Every value of the chart, with its default and the comment above it."""
    lines = (ROOT / "charts/sluice/values.yaml").read_text().splitlines()
    defaults = yaml.safe_load("\n".join(lines))
    rows: list[list[str]] = []
    said: list[str] = []
    open_: list[tuple[int, str]] = []
    for line in lines:
        comment = re.match(r"\s*# (?:-- )?(.*)", line)
        key = re.match(r"( *)([A-Za-z][\w.-]*):", line)
        if comment:
            said = ([] if "# -- " in line else said) + [comment[1]]
        elif key:
            depth = len(key[1])
            open_ = [o for o in open_ if o[0] < depth] + [(depth, key[2])]
            if said:
                path = [name for _, name in open_]
                rows.append([f"`{'.'.join(path)}`", _given(defaults, path), cell(sentence(" ".join(said)))])
            said = []
        elif not line.strip():
            said = []
    return (
        "\n\n".join(
            [
                "# Helm values",
                "Read off the chart's `values.yaml`; `values.schema.json` refuses any other key.",
                table(["value", "default", "meaning"], rows),
            ]
        )
        + "\n"
    )


def _given(defaults: Any, path: list[str]) -> str:
    for name in path:
        defaults = defaults.get(name) if isinstance(defaults, dict) else None
    text = yaml.safe_dump(defaults, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
    return cell(f"`{text}`") if len(text) < 90 else "see below it in the file"
