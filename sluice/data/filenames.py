"""What files' names say: ``{label}_{speaker}_{take}``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from sluice.core.errors import DataError

_PART = re.compile(r"\{([^{}]*)\}")
#: What may stand between the parts of a name that nobody has described.
_SEPARATORS = "_-."
#: More different values than this are no label, and so large a share of all files is a number of theirs.
_MOST_LABELS, _TAKES = 100, 0.5


class NamePattern:
    """A file's name without its ending, in parts: each ``{part}`` is a column, the text between them stands as it is.

    Where the pattern has a ``/``, it is of the path from the source's folder on, its last parts.

    Args:
        pattern: as ``{label}_{speaker}_{take}`` or ``{speaker}/{label}-{take}``.

    Raises:
        ValueError: it has no part, one twice, or one without a name.
    """

    def __init__(self, pattern: str):
        self.pattern, self.parts = pattern, _PART.findall(pattern)
        if not self.parts or not all(re.fullmatch(r"[A-Za-z_][\w ]*", p) for p in self.parts) or len(set(self.parts)) < len(self.parts):
            raise ValueError(f'{pattern!r} must name parts, each once, in braces: "{{label}}_{{number}}"')
        literals = _PART.split(pattern)[::2]
        groups = ["([^/]+?)"] * len(self.parts) + [""]
        self._regex = re.compile("".join(re.escape(text) + group for text, group in zip(literals, groups, strict=True)))
        self._depth = pattern.count("/") + 1

    def read(self, path: Path) -> dict[str, str] | None:
        """A path's parts by name; None where it does not fit."""
        last = path.with_suffix("").parts[-self._depth :]
        found = self._regex.fullmatch("/".join(last))
        return None if found is None else dict(zip(self.parts, found.groups(), strict=True))

    def columns(self, paths: Sequence[Path], names: Sequence[str], label: str) -> dict[str, pa.Array]:
        """What paths say, a column of strings a part; where no part is the label's, it is the folder's name.

        Args:
            paths: from the source's folder on.
            names: of the files, for messages.
            label: the label's column.

        Raises:
            DataError: a name does not fit, or nothing says the label.
        """
        rows = [self.read(p) for p in paths]
        bad = next((i for i, row in enumerate(rows) if row is None), None)
        if bad is not None:
            others = sum(row is None for row in rows) - 1
            raise DataError(
                f"is no name of the form {self.pattern}" + (f" (and {others} more)" if others else ""),
                field=names[bad],
                value=paths[bad].stem,
                fix="correct data.columns.file_name, rename the file, or remove it",
            )
        if label not in self.parts:
            bare = next((i for i, p in enumerate(paths) if len(p.parts) < 2), None)
            if bare is not None:
                raise DataError(
                    "says no label: it is neither a part of the name nor a folder's",
                    field=names[bare],
                    value=self.pattern,
                    fix=f"call the part that is the label {{{label}}} in data.columns.file_name, or set data.columns.label to a part's name",
                )
        found = {part: [str((row or {})[part]) for row in rows] for part in self.parts}
        if label not in found:
            found[label] = [p.parent.name for p in paths]
        return {name: pa.array(values, pa.string()) for name, values in found.items()}


def guessed(stems: Sequence[str], label: str | None = None) -> str | None:
    """A pattern that every name fits, with a label and no more parts than the names have: None where there is none.

    The label is the first part that few values fill, none of them alone; a part that counts is ``take``, others are ``part_2`` and so on.

    Args:
        stems: names without endings.
        label: the part to be taken for the label, as this function called it.
    """
    for separator in _SEPARATORS:
        split = [s.split(separator) for s in stems]
        if len(split[0]) < 2 or any(len(s) != len(split[0]) or not all(s) for s in split):
            continue
        names, chosen = [], None
        for i in range(len(split[0])):
            counts = Counter(s[i] for s in split)
            few = 2 <= len(counts) <= min(_MOST_LABELS, _TAKES * len(stems)) and min(counts.values()) > 1
            name = f"part_{i + 1}"
            if few and chosen is None and label in (None, name):
                chosen, name = i, "label"
            names.append(name)
        if chosen is not None:
            return separator.join(f"{{{n}}}" for n in names)
    return None
