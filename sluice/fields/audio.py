"""Audio: the bytes of a WAV or FLAC file to a mono waveform of one rate; spectra are computed inside the graph."""

from __future__ import annotations

import functools
import io
import math
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.field import Field
from sluice.fields.files import Files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.pieces import Pieces
    from sluice.fields.summaries import Cells

LIMIT_BYTES = 32 << 20
_RATES = (1_000, 384_000)
_LIMIT_SAMPLES = 1 << 24
_LIMIT_CHANNELS = 32
#: Zero crossings of the resampling kernel on each side, its Kaiser window's beta, and the passband kept.
_CROSSINGS, _BETA, _PASS = 16, 8.6, 0.95
#: Largest quotient of two rates, and numbers of a kernel's table (8 MB).
_LIMIT_RATIO, _LIMIT_TABLE = 24, 1 << 20
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FIX = "send the whole bytes of a WAV file (8 to 32 bit PCM, or 32 or 64 bit float) or of a FLAC file"
_FLAC = b"fLaC"


class Audio(Field):
    """Recordings: WAV or FLAC, or of any Arrow type a task's own processor takes. A row is its value alone."""

    kind = "audio"
    listed = True
    files = Files(
        "recording",
        ("WAV", "FLAC"),
        frozenset({".wav", ".wave", ".flac"}),
        frozenset({".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au", ".amr", ".webm"}),
        (b"RIFF", _FLAC),
        LIMIT_BYTES,
    )
    blob = True
    waves = True
    lacks = "no recording (null)"
    checks = frozenset({"recordings"})
    column_type = "binary"

    @classmethod
    def processor(cls) -> type[Processor]:
        """`AudioProcessor`."""
        return AudioProcessor

    def disturbances(self) -> Mapping[str, Disturbance]:
        """Noise, another loudness."""
        from sluice.fields.changes.disturbances import RECORDINGS

        return RECORDINGS

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, sample rates (as ``top``), and the clips' seconds and loudness."""
        from sluice.fields.recordings import summary

        return {**super().summary(cells), **summary(cells)}

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Parts ``seconds``, ``loudness`` and ``centroid`` of a sample of recordings."""
        from sluice.fields.recordings import reference

        return {"kind": self.kind, **reference(rows, self.name)}

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of each part; what cannot be read is missing."""
        from sluice.fields.recordings import counts

        return counts(reference, values)

    def vectors(self, values: Sequence[Any]) -> NDArray[np.float64] | None:
        """Which frequencies are loud."""
        from sluice.fields.vectors import of_waves

        found: list[tuple[int, np.ndarray] | None] = []
        for value in values:
            try:
                found.append(read(value) if isinstance(value, bytes) else None)
            except ValueError:
                found.append(None)
        return of_waves(found)


class AudioProcessor(Processor):
    """Rows are the bytes of a WAV file (RIFF WAVE: PCM of 8, 16, 24 or 32 bits, or IEEE float) or of a FLAC file.

    Channels are averaged, another sample rate is converted by band-limited interpolation (Smith and
    Gossett, A flexible sampling-rate conversion method, ICASSP 1984), and the waveform, in [-1, 1], is
    cut at its end or, unless it may be shorter, filled up with silence.

    Args:
        sample_rate: samples a second the model was trained on.
        samples: length of the waveform, at most where it may be shorter.
        shorter: whether it may: then a batch is as long as its longest, and `length` tells the graph each row's own.

    Raises:
        PackageError: a setting out of range.
    """

    kind: ClassVar[str] = "audio"
    value = Audio("audio")

    def __init__(self, sample_rate: int, samples: int, shorter: bool = False):
        if not _RATES[0] <= sample_rate <= _RATES[1]:
            raise PackageError(f"must be in {_RATES[0]}..{_RATES[1]}", field="preprocess.sample_rate", value=sample_rate)
        if not 1 <= samples <= _LIMIT_SAMPLES:
            raise PackageError(f"must be in 1..{_LIMIT_SAMPLES}", field="preprocess.samples", value=samples)
        self.sample_rate, self.samples, self.shorter = sample_rate, samples, shorter
        self.inputs = (TensorSpec("audio", "FP32", (-1, samples)),)
        if shorter:
            self.inputs = (TensorSpec("audio", "FP32", (-1, -1)), TensorSpec("length", "INT64", (-1, 1)))
            self.pads, self.tokens, self.max_length = {"audio": 0}, ("audio",), samples

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> AudioProcessor:
        """Read ``{"kind": "audio", "sample_rate": 16000, "samples": 16000, "shorter": true}``, the last optional. Raises `PackageError`."""
        only(spec, "kind", "sample_rate", "samples", "shorter")
        if not isinstance(spec.get("shorter", False), bool):
            raise PackageError("must be true or false", field="preprocess.shorter", value=spec["shorter"])
        return cls(setting(spec, "sample_rate", int), setting(spec, "samples", int), spec.get("shorter", False))

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """`audio`, FP32 [samples] each, and `length`, INT64 [1], where that differs. Raises `InputError`."""
        waves = [self._waveform(row, f"rows[{i}]") for i, row in enumerate(rows)]
        return [{"audio": w, "length": np.array([len(w)], dtype=np.int64)} if self.shorter else {"audio": w} for w in waves]

    def _waveform(self, raw: Any, field: str) -> np.ndarray:
        if not isinstance(raw, bytes | bytearray | memoryview):
            raise InputError("is not audio", field=field, value=raw, fix=_FIX)
        if len(raw) > LIMIT_BYTES:
            raise InputError(f"is larger than {LIMIT_BYTES} bytes", field=field, value=len(raw), fix="send a shorter recording")
        try:
            rate, wave = read(bytes(raw))
        except ValueError as e:
            raise InputError(f"is not a readable WAV or FLAC file: {e}", field=field, value=bytes(raw[:16]), fix=_FIX) from e
        if not np.isfinite(wave).all():
            raise InputError("holds samples that are no numbers", field=field, fix=_FIX)
        if not 1 / _LIMIT_RATIO <= rate / self.sample_rate <= _LIMIT_RATIO:
            raise InputError(f"has {rate} samples a second", field=field, fix=f"send a rate nearer to the model's, {self.sample_rate}")
        if rate != self.sample_rate:
            # What lies behind the length that is kept costs nothing.
            wave = resample(wave[: math.ceil(self.samples * rate / self.sample_rate) + rate], rate, self.sample_rate)
        if self.shorter:
            return np.ascontiguousarray(wave[: self.samples], dtype=np.float32)
        out = np.zeros(self.samples, dtype=np.float32)
        kept = min(len(wave), self.samples)
        out[:kept] = wave[:kept]
        return out

    def pieces(self, row: Any) -> Pieces:
        """Stretches of the clip as the model hears it. Raises `InputError`."""
        from sluice.fields.pieces import of_wave

        return of_wave(self._waveform(row, "rows[0]"), self.sample_rate)

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """FP32 [examples, samples]; where they differ in length [examples, longest], 0 behind the shorter ones, and `length`."""
        if not self.shorter:
            return {"audio": np.stack([e["audio"] for e in examples])}
        out = np.zeros((len(examples), max(len(e["audio"]) for e in examples)), dtype=np.float32)
        for row, e in zip(out, examples, strict=True):
            row[: len(e["audio"])] = e["audio"]
        return {"audio": out, "length": np.stack([e["length"] for e in examples])}

    def length(self, example: Example) -> int:
        """In seconds, rounded up: clips of like length share a batch, and not those of one sound that always takes as long."""
        return -(-len(example["audio"]) // self.sample_rate)

    def spec(self) -> dict[str, Any]:
        more = {"shorter": True} if self.shorter else {}
        return {"kind": "audio", "sample_rate": self.sample_rate, "samples": self.samples, **more}


def read(raw: bytes) -> tuple[int, np.ndarray]:
    """(samples a second, mono waveform FP32 [n] in [-1, 1]) of a WAV or FLAC file.

    Raises:
        ValueError: neither, or it cannot be read.
    """
    return _read_flac(raw) if raw.startswith(_FLAC) else read_wav(raw)


def _read_flac(raw: bytes) -> tuple[int, np.ndarray]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            if file.channels > _LIMIT_CHANNELS or not _RATES[0] <= file.samplerate <= _RATES[1]:
                raise ValueError(f"{file.channels} channels of {file.samplerate} samples a second")
            if not 0 < file.frames <= _LIMIT_SAMPLES:  # a few bytes may stand for hours of silence
                raise ValueError("it holds no samples" if not file.frames else f"{file.frames} samples, more than {_LIMIT_SAMPLES}")
            wave = file.read(dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as e:
        raise ValueError(str(e).split(": ")[-1]) from e
    if not len(wave):
        raise ValueError("it holds no samples")
    return rate, np.asarray(wave.mean(axis=1, dtype=np.float64), dtype=np.float32)


def read_wav(raw: bytes) -> tuple[int, np.ndarray]:
    """(samples a second, mono waveform FP32 [n] in [-1, 1]) of a RIFF WAVE file.

    Layout: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991), and
    WAVE_FORMAT_EXTENSIBLE. A length of the data that runs over the end of the file, as streams write it, is cut.

    Raises:
        ValueError: not such a file, or of an encoding that is not read.
    """
    if len(raw) < 12 or raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    form: bytes | None = None
    at = 12
    while at + 8 <= len(raw):
        name, size = raw[at : at + 4], struct.unpack_from("<I", raw, at + 4)[0]
        body = raw[at + 8 : at + 8 + size]
        if name == b"fmt ":
            form = body
        elif name == b"data":
            if form is None:
                raise ValueError("its data come before their format")
            return _decode(form, body)
        at += 8 + size + (size & 1)
    raise ValueError("it holds no data")


def _decode(form: bytes, data: bytes) -> tuple[int, np.ndarray]:
    if len(form) < 16:
        raise ValueError("its format is cut off")
    code, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", form)
    if code == _EXTENSIBLE and len(form) >= 26:
        code = struct.unpack_from("<H", form, 24)[0]
    if not 1 <= channels <= _LIMIT_CHANNELS:
        raise ValueError(f"{channels} channels")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise ValueError(f"{rate} samples a second")
    if (code, bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)) or align != channels * bits // 8:
        raise ValueError(f"format {code} of {bits} bits")
    frames = len(data) // align
    if not frames:
        raise ValueError("it holds no samples")
    data = data[: frames * align]
    if code == _FLOAT:
        wave = np.frombuffer(data, dtype=f"<f{bits // 8}").astype(np.float64)
    elif bits == 8:
        wave = (np.frombuffer(data, dtype=np.uint8).astype(np.float64) - 128) / 128
    elif bits == 24:
        wide = np.zeros((frames * channels, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        wave = wide.view("<i4").ravel().astype(np.float64) / 2**31
    else:
        wave = np.frombuffer(data, dtype=f"<i{bits // 8}").astype(np.float64) / 2 ** (bits - 1)
    with np.errstate(over="ignore"):  # a float beyond FP32 becomes infinite, and is refused for that
        return rate, wave.reshape(frames, channels).mean(axis=1).astype(np.float32)


def resample(wave: np.ndarray, source: int, target: int) -> np.ndarray:
    """A waveform FP32 [n] of `source` samples a second at `target` ones: FP32 [ceil(n * target / source)]."""
    divisor = math.gcd(source, target)
    up, down = target // divisor, source // divisor
    cutoff = _PASS * min(1.0, up / down)
    half = math.ceil(_CROSSINGS / cutoff)
    span = np.arange(-half, half + 2)
    table = _table(up, half, cutoff) if up * len(span) <= _LIMIT_TABLE else None
    padded = np.pad(wave.astype(np.float64), half + 1)
    count = -(-len(wave) * up // down)
    out = np.empty(count, dtype=np.float32)
    rows = max(1, _LIMIT_TABLE // len(span))  # bounds the memory of the windows
    for start in range(0, count, rows):
        where = np.arange(start, min(start + rows, count), dtype=np.int64) * down
        whole, phase = where // up, where % up
        weights = table[phase] if table is not None else _weights(phase / up, half, cutoff)
        out[start : start + len(where)] = np.einsum("ij,ij->i", padded[whole[:, None] + half + 1 + span], weights)
    return out


def _weights(fraction: np.ndarray, half: int, cutoff: float) -> np.ndarray:
    """Kernel FP64 [m, 2 half + 2] around each of `fraction` [m], the place between two samples."""
    offset = np.arange(-half, half + 2)[None] - fraction[:, None]
    inside = np.clip(1 - (offset / (half + 1)) ** 2, 0, None)
    weights = cutoff * np.sinc(cutoff * offset) * np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    return weights / weights.sum(axis=1, keepdims=True)


@functools.lru_cache(maxsize=8)
def _table(up: int, half: int, cutoff: float) -> np.ndarray:
    return _weights(np.arange(up) / up, half, cutoff)
