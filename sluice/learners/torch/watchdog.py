"""What watches over a training process that no launcher of ours does: under torchrun, on a cluster.

A machine that is taken away tells its processes by SIGTERM. The first process writes a checkpoint
on it; another one leaves word on the volume all of them share, so that the first hears of it.
A process that finishes no step for ``train.hang_seconds`` writes its stack and ends, torchrun ends
with it, and whoever started the job starts it again from its last checkpoint.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from typing import Any

from sluice.learners.torch.job import TorchJob

#: Exit status of a process that was stuck.
STUCK = 5
#: Seconds to the first step, where `hang_seconds` is less.
_START = 180.0
_POLL = 0.5


class Guard:
    """Watches the calling process from a thread; made on its main thread.

    Args:
        job: whose shared directory carries the word.
        rank: of this process.
    """

    def __init__(self, job: TorchJob, rank: int):
        self._word, self._rank = job.stop, rank
        self._limit = job.project.train.hang_seconds
        self._beat: float | None = None
        self._started = time.monotonic()
        if rank:
            signal.signal(signal.SIGTERM, self._pass_on)
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def beat(self) -> None:
        """A step was finished."""
        self._beat = time.monotonic()

    def _pass_on(self, *_: Any) -> None:
        self._word.touch()

    def _watch(self) -> None:
        told = False
        while True:
            time.sleep(_POLL)
            if self._rank == 0 and not told and self._word.exists():
                told = True
                os.kill(os.getpid(), signal.SIGTERM)
            since, allowed = (self._started, max(self._limit, _START)) if self._beat is None else (self._beat, self._limit)
            if time.monotonic() - since > allowed:
                print(f"training process {self._rank} is stuck: no step was finished for {allowed:g} s", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                sys.stderr.flush()
                os._exit(STUCK)
