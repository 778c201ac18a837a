"""Different things counted in a few kilobytes."""

from __future__ import annotations

import pytest

from sluice.stats.distinct import Distinct


@pytest.mark.parametrize("n", [0, 1, 10, 1000, 20_000, 200_000])
def test_it_counts_within_five_per_cent_what_came_however_often(n: int) -> None:
    found = Distinct()
    found.take(f"request-{i}/0" for i in range(n))
    once = found.count
    assert abs(once - n) <= 0.05 * n
    found.take(f"request-{i}/0" for i in range(min(n, 1000)))
    assert found.count == once
    assert Distinct(found.packed).count == once and len(found.packed) < 6000


def test_it_goes_on_from_what_it_was_and_never_falls() -> None:
    packed, before = "", 0
    for part in range(20):
        found = Distinct(packed)
        found.take(f"{part * 37 + i}" for i in range(100))
        assert found.count >= before
        packed, before = found.packed, found.count
    whole = Distinct()
    whole.take(str(i) for i in range(19 * 37 + 100))
    assert whole.count == before


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        Distinct("eJwDAAAAAAE=")
