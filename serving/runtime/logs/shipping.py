"""Parts of the log on their way to an object store: a store that is away for an hour loses none of them, and nobody waits for it.

A thread of its own sends them, so that workers hand their records over as ever. What cannot be sent is held, compressed as it is, and tried again;
beyond `MOST` bytes the oldest part is let go, and counted.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger("sluice.serving")

#: Bytes of parts that wait: some hours of a hundred rows a second. Seconds between tries; how long one name is kept.
MOST = 64 << 20
_FIRST, _LONGEST, _NAMED = 1.0, 60.0, 600.0


@dataclasses.dataclass
class _Parcel:
    folder: str
    data: bytes
    records: int
    name: str = ""
    named: float = 0.0


class Shipping:
    """Sends parts in their order.

    Args:
        put: writes one under a name; raises where it cannot. name: a new one, in a folder. count: is told (``written`` or ``failed``, records).
        clock: seconds.

    A part that waits for long is sent under a name of the time at which it is sent: whoever reads the log takes a part for late by its name, and one
    that is late by more than a quarter of an hour for read (`sluice.monitor.log`). Within `_NAMED` seconds the name stays, so that one which was
    stored though the answer was lost is stored once.
    """

    def __init__(
        self,
        put: Callable[[str, bytes], None],
        name: Callable[[str], str],
        count: Callable[[str, int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._put, self._name, self._count, self._clock = put, name, count, clock
        self._waiting: deque[_Parcel] = deque()
        self._size, self._failures, self._ended = 0, 0, False
        self._told = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send from now on."""
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)
        self._thread.start()

    def take(self, folder: str, data: bytes, records: int) -> None:
        """Have a part sent; the oldest go where there is no room for all."""
        with self._told:
            while self._waiting and self._size + len(data) > MOST:
                self._lost(self._waiting.popleft(), "no room")
            self._waiting.append(_Parcel(folder, data, records))
            self._size += len(data)
            self._told.notify()

    def step(self) -> float | None:
        """Try the oldest part. Returns seconds until the next try; None: nothing waits."""
        with self._told:
            if not self._waiting:
                return None
            one = self._waiting[0]
        now = self._clock()
        if not one.name or now - one.named > _NAMED:
            one.name, one.named = self._name(one.folder), now
        try:
            self._put(one.name, one.data)
        except Exception as why:
            self._failures += 1
            if self._failures == 1:
                log.exception("the prediction log cannot be written: its parts wait, %d MiB of them at the most", MOST >> 20)
            else:
                log.warning("the prediction log cannot be written yet: %s", why)
            return min(_LONGEST, _FIRST * 2.0 ** min(self._failures - 1, 10))
        self._failures = 0
        with self._told:
            # It may have been let go meanwhile, and is counted then; it is there all the same.
            if self._waiting and self._waiting[0] is one:
                self._waiting.popleft()
                self._size -= len(one.data)
                self._count("written", one.records)
            return 0.0 if self._waiting else None

    def close(self, seconds: float = 10.0) -> None:
        """Send what is left, for so many seconds at the most; the rest is counted as lost."""
        with self._told:
            self._ended = True
            self._told.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._told:
            while self._waiting:
                self._lost(self._waiting.popleft(), "the server ends")

    def _lost(self, one: _Parcel, why: str) -> None:
        self._size -= len(one.data)
        self._count("failed", one.records)
        log.error("%d records of the prediction log could not be written: %s", one.records, why)

    def _run(self) -> None:
        while True:
            wait = self.step()
            with self._told:
                if self._ended and (wait is None or wait > 0):
                    return
                if wait is None and not self._waiting:
                    self._told.wait()
                elif wait:
                    self._told.wait_for(lambda: self._ended, wait)
