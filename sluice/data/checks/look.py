"""A check of rows: looks, each of which writes what it found as a line of the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sluice.core.check import Check, Decision
from sluice.data.checks.subject import Subject
from sluice.data.config import Checks


class Looks(Check):
    """The base of the built-in checks of `validate_data`: refuses where one of its looks does. Their limits are ``data.checks``.

    Attributes:
        looks: called with the subject one after another; each adds lines to it.
    """

    step, Config = "validate_data", Checks
    looks: ClassVar[tuple[Callable[[Subject], object], ...]]

    def judge(self, facts: Subject, config: Checks) -> Decision:
        """Look at the rows; what was found stands in ``facts.found``, too."""
        before = len(facts.found)
        for look in self.looks:
            look(facts)
        lines = facts.found[before:]
        refused = tuple(line.message for line in lines if line.status == "refuse")
        warned = tuple(line.message for line in lines if line.status == "warn")
        return Decision("refuse" if refused else "pass", refused or warned, {"checks": [line.to_dict() for line in lines]})
