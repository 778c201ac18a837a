"""``python -m tests.bench.proof``: a thousand random changes of one byte in a package and what lies beside it, and how many `verify` finds.

Each change is of one byte of one file to another value, at a place and in a file drawn by chance (each file as often as another), and is
taken back. A line of JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sluice.package import package as packages
from sluice.package.package import Store
from sluice.proof.keys import PublicKey
from sluice.proof.verify import verify


def tampered(store: Store, digest: str, keys: Sequence[PublicKey], *, changes: int, seed: int) -> dict[str, Any]:
    """Change a byte `changes` times, verify each time, and change it back. Returns ``changes``, ``missed`` and ``of`` (changes by file)."""
    draw, missed, of = random.Random(seed), [], Counter[str]()
    opened = functools.partial(packages.read, store.path(digest), digest)
    every = sorted(p for root in (store.path(digest), store.proof_path(digest)) for p in root.iterdir())
    for _ in range(changes):
        path = draw.choice(every)
        before = path.read_bytes()
        at = draw.randrange(len(before))
        other = draw.choice([b for b in range(256) if b != before[at]])
        path.write_bytes(before[:at] + bytes([other]) + before[at + 1 :])
        of[path.name] += 1
        if verify(opened, digest, store, keys, signature=bool(keys)).ok:
            missed.append({"file": path.name, "at": at, "from": before[at], "to": other})
        path.write_bytes(before)
    assert verify(opened, digest, store, keys, signature=bool(keys)).ok
    return {"changes": changes, "missed": missed, "of": dict(sorted(of.items()))}


def main() -> None:
    """Measure on a package of the tests."""
    from sluice.proof import keys, record
    from sluice.proof.config import CardConfig
    from tests.unit.packaging.conftest import seal
    from tests.unit.proof.conftest import MADE

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        provenance = {"seed": 17, "data": "d" * 64, "code": "e" * 64, "config": "c" * 64}
        package = store.add(seal(Path(folder) / "made", "text", provenance=provenance))
        keys.new_pair(Path(folder) / "signing.pem")
        key = keys.signing_key(Path(folder) / "signing.pem")
        assert key is not None
        record.write(store, package, MADE, CardConfig(), key)
        begun = time.perf_counter()
        found = tampered(store, package.digest, [key.public], changes=args.changes, seed=args.seed)
        print(json.dumps(found | {"found": args.changes - len(found["missed"]), "seconds": round(time.perf_counter() - begun, 2)}))


if __name__ == "__main__":
    main()
