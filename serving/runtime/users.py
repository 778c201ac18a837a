"""Users, as far as counting needs them: which of a few dozen groups of whole users a request belongs to.

Requests of one user are not independent; those of different users are, and so are groups of whole users. The group comes from a header
that names the user, by a hash that is the same on every replica and for every version, or from a cookie that names no more than the
group, which the server draws for whoever has none where the route asks for it. No series and no log names a user.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping

#: Groups that users are spread over. Evidence by user is as fine as this; each takes up to six series a version.
GROUPS = 64
#: A request header by which the route says that a user keeps to one model from here on.
STICKY = b"x-sluice-sticky"
COOKIE = b"sluice-group"

_CARRIED = re.compile(rb"(?:^|;)\s*" + COOKIE + rb"=([0-9]{1,2})\s*(?:;|$)")


def group_of(user: bytes) -> int:
    """The group of a user by name: 0 to `GROUPS` - 1. A keyed hash, so that it has nothing to do with one that assigns models."""
    return int.from_bytes(hashlib.blake2b(user, digest_size=4, person=b"sluice-groups").digest(), "big") % GROUPS


def known(user: bytes | None, cookies: bytes | None) -> int | None:
    """The group of a request: of the `user` its header names, else the one among its cookies; None where neither is there."""
    if user:
        return group_of(user)
    found = _CARRIED.search(cookies) if cookies else None
    group = int(found[1]) if found else GROUPS
    return group if group < GROUPS else None


def drawn(headers: Mapping[bytes, bytes]) -> int | None:
    """A group for a user who has none, where the route says that users stay; None elsewhere."""
    return random.randrange(GROUPS) if STICKY in headers else None


def cookie(group: int) -> bytes:
    """The header line that has a client name its group from now on; for as long as a session, as the gateway's own cookie."""
    return b"set-cookie: %b=%d; Path=/; HttpOnly; SameSite=Lax\r\n" % (COOKIE, group)
