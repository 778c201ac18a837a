"""Transcripts: spoken digits strung together, or made-up songs where the recordings are absent. ``python -m tests.bench.tasks.transcribe`` prints one JSON line.

A recording is three to six digits of one speaker with pauses between; no digit's recording is on two sides. Once with every speaker on
both sides, once with a speaker held out (`--only` names which). The settings are those a stranger gets, `--model` and `--train` change them.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.data.prepare import prepare
from sluice.data.sounds import wav
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.predictor import run_examples
from sluice.engines.rows import rows_from_arrow
from sluice.fields.audio import read_wav
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.project import parse
from sluice.tasks import load_task
from tests.bench.tasks.audio import DIGITS, milliseconds

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: A digit's recordings of one speaker from this number on are for held-out strings.
HELD_OUT = 40

Clip = tuple[int, str, int, np.ndarray]


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.transcribe", description=__doc__)
    parser.add_argument("--data", type=Path, default=DIGITS, help="archive of WAV files named DIGIT_SPEAKER_TAKE.wav")
    parser.add_argument("--model", type=orjson.loads, default={}, help="model: of the project, as JSON")
    parser.add_argument("--train", type=orjson.loads, default={}, help="train: of the project, as JSON")
    parser.add_argument("--strings", type=int, default=800, help="of the training rows")
    parser.add_argument("--only", nargs="*", help="clip, or speakers by name")
    args = parser.parse_args(argv)
    more = {"model": args.model, "train": args.train}
    if not args.data.exists():
        data = {"source": "sounds://songs", "split": {"by": "group", "column": "caller"}}
        print(orjson.dumps({"data": "sounds://songs", **measure(data, more)}).decode())
        return
    clips = [*digits(args.data)]
    speakers = sorted({c[1] for c in clips})
    out: dict[str, Any] = {"data": args.data.name}
    for name in args.only or ["clip", *speakers]:
        if name == "clip":
            train, test = ([c for c in clips if (c[2] >= HELD_OUT) == held] for held in (False, True))
        else:
            train, test = ([c for c in clips if (c[1] == name) == held] for held in (False, True))
        with tempfile.TemporaryDirectory() as folder:
            for side, of, rows in (("train", train, args.strings), ("test", test, 200)):
                pq.write_table(strung(of, rows, np.random.default_rng([7, side == "test"])), Path(folder) / f"{side}.parquet")
            out[name] = measure({"source": f"{folder}/train.parquet", "test": f"{folder}/test.parquet"}, more)
    print(orjson.dumps(out).decode())


def digits(path: Path) -> Iterator[Clip]:
    """(digit, speaker, take, waveform) of each recording."""
    with tarfile.open(path) as archive:
        for entry in sorted(archive.getmembers(), key=lambda m: m.name):
            if entry.name.endswith(".wav"):
                digit, speaker, take = Path(entry.name).stem.split("_")
                file = archive.extractfile(entry)
                assert file is not None
                yield int(digit), speaker, int(take), read_wav(file.read())[1]


def strung(clips: list[Clip], rows: int, rng: np.random.Generator) -> pa.Table:
    """Strings of three to six digits, each of one speaker: recordings and transcripts."""
    speakers = sorted({c[1] for c in clips})
    of = {s: [c for c in clips if c[1] == s] for s in speakers}
    sounds, said = [], []
    for _ in range(rows):
        own = of[speakers[rng.integers(len(speakers))]]
        chosen = [own[i] for i in rng.integers(len(own), size=rng.integers(3, 7))]
        hiss = 1e-4 * rng.normal(size=1 << 18)
        parts = [p for c in chosen for p in (np.zeros(round(8000 * rng.uniform(0.02, 0.25))), c[3].astype(np.float64))]
        whole = np.concatenate(parts)
        sounds.append(wav(whole + np.resize(hiss, len(whole))))
        said.append(" ".join(NAMES[c[0]] for c in chosen))
    return pa.table({"audio": pa.array(sounds, pa.binary()), "label": pa.array(said, pa.string())})


def measure(data: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The error rates on the held-out rows with their intervals, what the constant answer reaches, seconds of CPU, the graph's bytes, milliseconds."""
    project = parse({"name": "bench", "task": "transcribe", "data": data, **more})
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare(project, Path(), load_task(project, Path()), Path(folder) / "data")
        begun = time.perf_counter()
        trained = fit(project, dataset, Path(folder) / "model")
        seconds = time.perf_counter() - begun
        graph = export_graph(trained, 20)
        test, asked = dataset.read("test"), dataset.problem
        examples = trained.processor.encode(rows_from_arrow(trained.processor.spec(), test))
        engine = OnnxRuntime.open(graph)
        outputs = run_examples(engine, trained.processor, examples, 16)
        targets = asked.targets(test.column("label"), dataset.labels)
        found = asked.answers(outputs, targets, dataset.labels, units=asked.units(dataset, "test"))
        name, plain = asked.trivial(dataset, dataset.labels, "word_error_rate", None)
        constant = asked.answers(plain, targets, dataset.labels)
        took = {f"ms_{n}": round(milliseconds(engine, trained.processor.batch(examples[:n])), 3) for n in (1, 32)}
    rates = {k: {"value": round(m.value(found), 4), "interval": m.interval(found, 0.95, 1000)} for k, m in asked.metrics().items()}
    return {
        **rates,
        "baseline": [name, round(asked.metrics()["word_error_rate"].value(constant), 4)],
        "rows": dataset.rows("train"),
        "seconds": round(seconds, 1),
        "text": trained.text,
        "bytes": len(graph),
        **took,
    }


if __name__ == "__main__":
    main()
