"""Names in the project file, looked up in the data before anything is trained."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.core.errors import ProjectError
from sluice.core.section import Named, names_in

if TYPE_CHECKING:
    from sluice.project import Project


_LISTED = 20


def columns_named(project: Project) -> frozenset[str]:
    """The columns that settings outside ``data.columns`` name."""
    return frozenset(n.name for n in names_in(project) if n.what in ("column", "feature", "number", "field", "held") and n.name != "label")


def check_names(
    project: Project,
    base_dir: Path,
    *,
    columns: Collection[str],
    features: Sequence[str],
    labels: Sequence[str],
    numbers: Collection[str] = (),
    suites: Collection[str] = (),
) -> None:
    """Look up what the project's settings name.

    Args:
        columns: of the source.
        features: what the task makes of them; the label is called ``label``.
        labels: its values; empty for a quantity.
        numbers: the features that are quantities.
        suites: ways of disturbing rows that some feature knows.

    Raises:
        ProjectError: every name that is not there, each with its setting and the nearest one that is.
    """
    faults = list(_faults(project, base_dir, columns, features, labels, numbers, suites))
    if not faults:
        return
    if len(faults) == 1:
        raise faults[0]
    lines = [str(f).replace("\n  fix: ", "; ") for f in faults]
    raise ProjectError(f"{len(faults)} names that are not there\n  - " + "\n  - ".join(lines), field=project.name, fix="mend each of them")


def _faults(
    project: Project,
    base_dir: Path,
    columns: Collection[str],
    features: Sequence[str],
    labels: Sequence[str],
    numbers: Collection[str],
    suites: Collection[str],
) -> Iterator[ProjectError]:
    for found in names_in(project):
        if found.name in project.data.sensitive and found.what in ("held", "field") and not found.setting.startswith("data."):
            yield ProjectError(
                "is a sensitive column, and its values would stand in the report",
                field=found.setting,
                value=found.name,
                fix="take it out of one of the two; listed under data.columns.ignore alone it is no feature either",
            )
            continue
        if found.what == "held":
            if found.name in columns and found.name != project.data.columns.label:
                continue
            found = dataclasses.replace(found, what="field")
        fields = [*features, "label"] if found.what == "field" else list(features)
        if found.what in ("feature", "number", "field") and found.name not in fields:
            yield _no_feature(found, fields, columns, project.data.columns.label)
        elif found.what == "number" and found.name not in numbers:
            yield ProjectError(
                "is a feature, but no quantity: its values have no order",
                field=found.setting,
                value=found.name,
                fix=f"remove it, or write data.columns.kinds: {{{found.name}: numeric}} if its values are numbers",
            )
        elif found.what == "column" and found.name not in columns:
            yield _unknown(found, "is no column of the source", list(columns), "columns")
        elif found.what == "class" and found.name not in labels:
            if labels:
                yield _unknown(found, "is no label of the data", list(labels), "labels")
            else:
                yield ProjectError(
                    "names a class, but the label is a quantity",
                    field=found.setting,
                    value=found.name,
                    fix="remove it, or set model.objective: classification",
                )
        elif found.what == "suite" and found.name not in suites:
            yield _unknown(found, "is no way that a feature of this data can be disturbed in", list(suites), "ways")
        elif found.what in ("file", "model"):
            path = base_dir / Path(found.name).expanduser()
            if not path.exists() and (found.what == "file" or found.name.startswith((".", "/", "~")) or found.name.count("/") > 1):
                yield ProjectError("no such file", field=found.setting, value=found.name, fix=f"it was looked for at {path.absolute()}")


def _no_feature(found: Named, fields: list[str], columns: Collection[str], label: str) -> ProjectError:
    """What a name is that was taken for a feature: the label, a column that is none, or nothing."""
    if "label" in fields and found.name == label:
        return ProjectError(
            "is the label; it is called label here",
            field=found.setting,
            value=found.text or found.name,
            fix=f"write label for {found.name}",
        )
    if found.name in columns and found.name != label:
        return ProjectError(
            "is a column of the source, but no feature: data.columns leaves it out",
            field=found.setting,
            value=found.name,
            fix="take it out of data.columns.ignore, or name another column",
        )
    return _unknown(found, "is no feature of the data", fields, "features")


def _unknown(found: Named, message: str, there: list[str], what: str) -> ProjectError:
    near = difflib.get_close_matches(found.name, there, 1, 0.5) or [n for n in there if n.lower() == found.name.lower()]
    shown = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
    return ProjectError(
        message if not found.text else f"{message} (in {found.text})",
        field=found.setting,
        value=found.name,
        fix=(f"did you mean {near[0]!r}? " if near else "") + f"{what}: {shown}",
    )
