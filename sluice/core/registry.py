"""What is there by name: built in and imported when asked for, brought by other distributions, or a user's own ``module:Class``."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from sluice.core.errors import ProjectError


class Registry:
    """The objects of one kind.

    Args:
        kind: what one of them is called (``task``); other distributions bring more as entry points of the group ``sluice.<kind>s``.
        built_in: name -> ``module:attribute``; imported when it is first asked for.
    """

    def __init__(self, kind: str, built_in: Mapping[str, str]):
        self.kind, self.group = kind, f"sluice.{kind}s"
        self._where = dict(built_in)

    @property
    def built_in(self) -> list[str]:
        """The built-in names, in their order."""
        return list(self._where)

    def names(self) -> list[str]:
        """Every name there is: the built-in ones in their order, then those of other distributions."""
        return list(dict.fromkeys([*self._where, *sorted(e.name for e in self._brought())]))

    def __contains__(self, name: str) -> bool:
        """Whether there is such a name; nothing is imported for it."""
        return name in self._where or any(e.name == name for e in self._brought())

    def get(self, name: str, *, field: str = "", beside: Path | None = None) -> Any:
        """The object of a name; ``module:attribute`` is imported, also from the folder `beside`.

        Args:
            name: a name, or where the object is.
            field: the setting that named it, for errors; default the kind.
            beside: a folder whose modules come before installed ones: the project file's.

        Raises:
            ProjectError: there is no such name (the nearest is told), or it cannot be imported.
        """
        field = field or self.kind
        if name in self._where:
            return self._import(self._where[name], field, name)
        if ":" in name:
            if beside is not None:
                _first(name.partition(":")[0].partition(".")[0], beside.resolve())
            return self._import(name, field, name)
        for entry in self._brought():
            if entry.name == name:
                return self._import(entry.value, field, name)
        raise ProjectError(f"unknown {self.kind}", field=field, value=name, fix=self.nearest(name))

    def nearest(self, name: str) -> str:
        """What to write in the place of a name that is not there: the nearest one, and all there are."""
        near = difflib.get_close_matches(name, self.names(), 1, 0.3)
        return (f"did you mean {near[0]!r}? " if near else "") + f"there are {', '.join(self.names())}; your own: my_module:MyClass"

    def _brought(self) -> Sequence[metadata.EntryPoint]:
        """What other distributions bring."""
        return _entries(self.group, tuple((p, _changed(p)) for p in sys.path))

    def _import(self, where: str, field: str, name: str) -> Any:
        module, _, attribute = where.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as e:
            fix = "put the module beside sluice.yaml or install its package"
            raise ProjectError(f"cannot import {module}: {e}", field=field, value=name, fix=fix) from e
        except AttributeError as e:
            raise ProjectError(f"module {module} has no {attribute}", field=field, value=name, fix="name a class of that module") from e
        except Exception as e:
            raise ProjectError(
                f"{module} failed on import: {type(e).__name__}: {e}", field=field, value=name, fix="run `python -m` on it"
            ) from e


@functools.lru_cache(64)
def _entries(group: str, places: tuple[tuple[str, int], ...]) -> tuple[metadata.EntryPoint, ...]:
    """Entry points of a group. A look opens a file of every distribution that is installed, and a table's columns ask one by one.

    Args:
        places: folders of the search path, and when each was last changed: what is installed meanwhile is found.
    """
    return tuple(metadata.entry_points(group=group))


def _changed(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


def findable(folder: Path) -> None:
    """Let modules of the project's folder be found, after all that is installed: a dataset names a user's own class, and its reader knows no folder."""
    where = str(folder.resolve())
    if where not in sys.path:
        sys.path.append(where)


def _first(module: str, folder: Path) -> None:
    """Let a module be found in the project's folder, before one of the same name that another project brought."""
    there = (folder / f"{module}.py").is_file() or (folder / module).is_dir()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    elif there and sys.path[0] != str(folder):
        sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
    known = getattr(sys.modules.get(module), "__file__", None)
    if there and known and not Path(known).resolve().is_relative_to(folder):
        for name in [n for n in sys.modules if n == module or n.startswith(f"{module}.")]:
            del sys.modules[name]
