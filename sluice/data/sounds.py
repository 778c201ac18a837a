"""Made-up calls of made-up birds, as WAV files' bytes: sets of sounds that need no download. ``sounds://calls``, ``sounds://songs``."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.scheme import Asked

#: Samples a second.
RATE = 8000
#: name -> what it holds.
SETS = {
    "calls": "480 calls of six kinds by 40 callers, each with a pitch, pace and timbre of its own: label and caller",
    "songs": "400 songs of one to five such calls by 40 callers: the names of the calls in their order, and caller",
}
_CALLERS = 40


def _rise(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0.7 + 0.7 * t, np.ones_like(t)


def _fall(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 1.4 - 0.7 * t, np.ones_like(t)


def _flat(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones_like(t), np.ones_like(t)


def _trill(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones_like(t), 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 6 * t))


def _warble(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 1 + 0.25 * np.sin(2 * np.pi * 3 * t), np.ones_like(t)


def _double(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(t < 0.5, 1.3, 0.8), ((t < 0.4) | (t > 0.6)).astype(np.float64)


#: kind -> time from 0 to 1 to (pitch in shares of the caller's, loudness).
KINDS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "double": _double,
    "fall": _fall,
    "flat": _flat,
    "rise": _rise,
    "trill": _trill,
    "warble": _warble,
}


class Caller:
    """A bird with a voice of its own. `rng` is the only source of chance."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self.pitch, self.seconds = 500 * 2 ** rng.uniform(0, 1.2), rng.uniform(0.25, 0.5)
        self.timbre, self.noise = rng.uniform(0.1, 0.7, 3), 10 ** rng.uniform(-3, -1.5)

    def call(self, kind: str) -> np.ndarray:
        """A call, float64 [samples] in [-1, 1]; no two are alike."""
        rng = self._rng
        n = round(RATE * self.seconds * rng.uniform(0.8, 1.25))
        at = np.arange(n) / n
        pitch, loud = KINDS[kind](at)
        phase = 2 * np.pi * np.cumsum(pitch * self.pitch * rng.uniform(0.93, 1.07)) / RATE
        sound = np.sin(phase) + sum(a * np.sin((k + 2) * phase) for k, a in enumerate(self.timbre) if (k + 2) * self.pitch * 1.5 < RATE / 2)
        return sound * loud * np.minimum(1, np.minimum(at, 1 - at) * 12) * rng.uniform(0.1, 0.4)

    def recording(self, calls: list[np.ndarray]) -> bytes:
        """Calls with pauses around them, in the noise of the place, as a WAV file of 16 bits."""
        rng, parts = self._rng, []
        for sound in calls:
            parts += [np.zeros(round(RATE * rng.uniform(0.03, 0.15))), sound]
        whole = np.concatenate([*parts, np.zeros(round(RATE * rng.uniform(0.03, 0.15)))])
        return wav(whole + self.noise * rng.normal(size=len(whole)))


def table(asked: Asked) -> pa.Table:
    """The source ``sounds://name``: the field's column, the label's, and ``caller``.

    Raises:
        DataError: an unknown name, or a task that reads no recordings.
    """
    name = asked.rest.strip("/")
    if name not in SETS:
        raise DataError(
            "is no set of sounds", field="data.source", value=asked.uri, fix=f"there are sounds://{' and sounds://'.join(SETS)}"
        )
    if asked.value is None or not asked.value.waves:
        raise DataError("holds recordings", field="data.source", value=asked.uri, fix="use task: audio or transcribe")
    rng = np.random.default_rng(17)
    sounds, labels, callers = [], [], []
    for number in range(_CALLERS):
        caller = Caller(rng)
        for kinds in _OF[name](rng):
            labels.append(" ".join(kinds))
            sounds.append(caller.recording([caller.call(kind) for kind in kinds]))
            callers.append(f"caller {number + 1:02d}")
    return pa.table(
        {
            asked.columns.of(asked.value): pa.array(sounds, pa.binary()),
            asked.columns.label: pa.array(labels, pa.string()),
            "caller": pa.array(callers, pa.string()),
        }
    )


def _calls(rng: np.random.Generator) -> list[list[str]]:
    """Each kind twice, one call a recording."""
    return [[kind] for _ in range(2) for kind in KINDS]


def _songs(rng: np.random.Generator) -> list[list[str]]:
    """Ten songs of one to five calls."""
    return [[str(kind) for kind in rng.choice([*KINDS], rng.integers(1, 6))] for _ in range(10)]


#: name -> the kinds that a caller sings, a list a recording.
_OF: dict[str, Callable[[np.random.Generator], list[list[str]]]] = {"calls": _calls, "songs": _songs}


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """A waveform in [-1, 1] as a mono WAV file of 16 bits; what lies outside is cut off."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return out.getvalue()
