"""In what two versions of a model differ."""

from __future__ import annotations

from sluice.registry.versions import Registry, Version


def settings_between(registry: Registry, a: Version, b: Version) -> tuple[dict[str, tuple[str, str]], bool]:
    """The settings in which two versions' projects differ, ("" where one has no such key), and whether both are known."""
    old, new = registry.settings(a), registry.settings(b)
    return {k: (old.get(k, ""), new.get(k, "")) for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)}, bool(old and new)
