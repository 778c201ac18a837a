"""The group of a user: the same for one user everywhere, independent of names, and nothing else is kept."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.runtime import users


def test_a_user_has_one_group_and_users_spread_evenly():
    assert (
        users.group_of(b"ann") == users.group_of(b"ann") == 14
    )  # the same on every replica and after every upgrade: evidence adds up over them
    met = Counter(users.group_of(f"user-{i}".encode()) for i in range(64_000))
    assert set(met) == set(range(users.GROUPS))
    assert sum((n - 1000) ** 2 / 1000 for n in met.values()) < 110  # chi-squared, 63 degrees of freedom: 1 in 10,000


@pytest.mark.parametrize(
    ("user", "cookies", "group"),
    [
        (b"ann", None, 14),
        (b"ann", b"sluice-group=5", 14),
        (b"", b"sluice-group=5", 5),
        (None, b"a=1; sluice-group=63;b=2", 63),
        (None, b"sluice-arm=abc-def; sluice-group=0", 0),
        (None, None, None),
        (None, b"", None),
        (None, b"sluice-group=64", None),
        (None, b"sluice-group=-1", None),
        (None, b"my-sluice-group=5", None),
        (None, b"sluice-group=5x", None),
        (None, b"sluice-group=123", None),
    ],
)
def test_the_header_names_the_user_and_the_cookie_the_group(user: bytes | None, cookies: bytes | None, group: int | None):
    assert users.known(user, cookies) == group


def test_a_group_is_drawn_only_where_the_route_asks():
    assert users.drawn({b"cookie": b"a=1"}) is None
    drawn = {users.drawn({users.STICKY: b"1"}) for _ in range(2000)}
    assert drawn == set(range(users.GROUPS))
    assert users.known(None, users.cookie(7).split(b": ")[1]) == 7
