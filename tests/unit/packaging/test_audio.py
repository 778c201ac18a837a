"""WAV bytes to a waveform: what is read, converted and refused."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import InputError, PackageError
from sluice.fields import AudioProcessor, load_processor
from sluice.fields.audio import read_wav, resample


def riff(code: int, bits: int, data: bytes, rate: int = 8000, channels: int = 1, *, extensible: bool = False) -> bytes:
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * align, align, bits)
    if extensible:
        form += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", code) + bytes(14)
    body = b"WAVE" + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", len(form)) + form
    return b"RIFF" + struct.pack("<I", len(body) + 8 + len(data)) + body + b"data" + struct.pack("<I", len(data)) + data


def tone(rate: int, hertz: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_the_standard_library_writes_is_read_to_its_precision(width: int, channels: int) -> None:
    want = np.linspace(-0.9, 0.9, 50)
    whole = np.round(want * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    frames = b"".join(int(v + 128 if width == 1 else v).to_bytes(width, "little", signed=width > 1) * channels for v in whole)
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(channels)
        f.setsampwidth(width)
        f.setframerate(22050)
        f.writeframes(frames)
    rate, found = read_wav(out.getvalue())
    assert rate == 22050 and found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=2.0 ** (2 - 8 * width) + 1e-7)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
def test_floats_and_the_extensible_format_are_read(bits: int, extensible: bool) -> None:
    want = np.linspace(-1, 1, 20)
    _, found = read_wav(riff(3, bits, want.astype(f"<f{bits // 8}").tobytes(), extensible=extensible))
    np.testing.assert_allclose(found, want, atol=1e-7)


def test_channels_are_averaged() -> None:
    pairs = np.array([[0.5, -0.5], [1.0, 0.0]], dtype="<f4")
    assert read_wav(riff(3, 32, pairs.tobytes(), channels=2))[1].tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("source", "target"), [(44_100, 16_000), (8_000, 16_000), (48_000, 8_000), (16_000, 15_999)])
def test_another_rate_keeps_what_is_heard_and_drops_what_would_fold_back(source: int, target: int) -> None:
    found = resample(tone(source, 440), source, target)
    assert len(found) == -(-source // 2 * target // source)
    np.testing.assert_allclose(found[300:-300], tone(target, 440, 1)[: len(found)][300:-300], atol=1e-4)
    if source > 2 * target:
        assert np.abs(resample(tone(source, 0.6 * target), source, target)[300:-300]).max() < 1e-3


@pytest.mark.parametrize("samples", [10, 200])
def test_a_recording_is_cut_or_filled_with_silence(samples: int) -> None:
    (example,) = AudioProcessor(8000, 100).encode([riff(3, 32, np.ones(samples, "<f4").tobytes())])
    assert example["audio"].tolist() == [1.0] * min(samples, 100) + [0.0] * max(0, 100 - samples)


def test_a_processor_is_itself_again_from_its_specification() -> None:
    p = load_processor({"kind": "audio", "sample_rate": 16000, "samples": 32}, {})
    assert p.spec() == {"kind": "audio", "sample_rate": 16000, "samples": 32} and p.inputs[0].shape == (-1, 32)
    assert p.encode_batch([riff(1, 16, bytes(64))] * 3)["audio"].shape == (3, 32)


@pytest.mark.parametrize(
    "spec",
    [
        {"sample_rate": 0, "samples": 5},
        {"sample_rate": 8000, "samples": 0},
        {"sample_rate": 8000},
        {"sample_rate": 8e3, "samples": 5},
        {"sample_rate": 8000, "samples": 5, "mel": True},
    ],
)
def test_settings_out_of_range_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(PackageError):
        load_processor({"kind": "audio", **spec}, {})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("a string", "not audio"),
        (b"", "RIFF"),
        (b"ID3" + bytes(50), "RIFF"),
        (riff(1, 16, b""), "no samples"),
        (riff(1, 12, bytes(8)), "12 bits"),
        (riff(6, 8, bytes(8)), "format 6"),
        (riff(1, 16, bytes(8), rate=5), "5 samples"),
        (riff(1, 16, bytes(8), channels=0), "0 channels"),
        (riff(3, 32, np.full(9, np.nan, "<f4").tobytes()), "no numbers"),
        (riff(3, 64, np.full(9, 1e300).tobytes()), "no numbers"),
        (riff(1, 16, bytes(8), rate=384_000), "384000 samples"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_row(raw: object, says: str) -> None:
    good = riff(1, 16, bytes(64))
    with pytest.raises(InputError, match=says) as e:
        AudioProcessor(8000, 100).encode([good, raw])
    assert e.value.field == "rows[1]" and e.value.fix


@given(st.binary(max_size=200), st.integers(0, 55), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_read_or_refused_never_anything_else(tail: bytes, at: int, byte: int) -> None:
    raw = bytearray(riff(1, 16, tail, rate=44_100))
    raw[at] = byte
    try:
        (example,) = AudioProcessor(16000, 64).encode([bytes(raw)])
    except InputError:
        return
    assert example["audio"].shape == (64,) and np.isfinite(example["audio"]).all()


def test_recordings_that_may_be_shorter_are_padded_to_the_longest_and_say_how_long_they_are() -> None:
    p = load_processor({"kind": "audio", "sample_rate": 8000, "samples": 100, "shorter": True}, {})
    assert load_processor(p.spec(), {}).spec() == p.spec() and [t.shape for t in p.inputs] == [(-1, -1), (-1, 1)]
    batch = p.encode_batch([riff(3, 32, np.ones(n, "<f4").tobytes()) for n in (10, 200)])
    assert batch["audio"].shape == (2, 100) and batch["audio"][0].tolist() == [1.0] * 10 + [0.0] * 90
    assert batch["length"].tolist() == [[10], [100]]


@pytest.mark.parametrize("channels", [1, 2])
def test_flac_is_read_as_the_same_samples_in_wav(channels: int) -> None:
    import io

    import soundfile

    x = np.stack([np.round(np.sin(np.arange(400) * (0.1 + c)) * 2**14) / 2**15 for c in range(channels)], axis=1)
    out = io.BytesIO()
    soundfile.write(out, x, 8000, format="FLAC", subtype="PCM_16")
    (found,) = AudioProcessor(8000, 400).encode([out.getvalue()])
    np.testing.assert_allclose(found["audio"], x.mean(axis=1), atol=1e-6)
    for bad in (out.getvalue()[:60], b"fLaC" + bytes(100)):
        with pytest.raises(InputError, match="WAV or FLAC"):
            AudioProcessor(8000, 400).encode([bad])
