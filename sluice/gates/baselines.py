"""What a model has to beat: the trivial one, and a linear one on the same fields, trained on the same rows.

The linear one is trained in a process of its own, with a limit on its time and memory: whatever happens to it,
the gate goes on. ``python -m sluice.gates.baselines`` is that process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.abc
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.warm import start as warm
from sluice.data.dataset import Dataset
from sluice.problems.decision import Rule
from sluice.problems.problem import of_labels
from sluice.problems.threshold import choose

if TYPE_CHECKING:
    from sluice.gates.features import Block
    from sluice.gates.floor import BaselinesConfig, FloorConfig
    from sluice.problems.problem import Problem

SEED = 17
#: Rows of each split at the most, spread over it.
MOST_ROWS = 50_000
#: Of rows that have to be decoded (images, audio, tensors).
MOST_DECODED = 5_000
#: Characters of text, of each split.
MOST_CHARACTERS = 8_000_000
#: Numbers that are not zero, times classes: what one pass of the fit costs.
MOST_WORK = 300_000_000
#: Seconds by the clock for each second of processor time: a busy machine does not decide what is compared.
PATIENCE = 10
#: Bytes the process may hold beside what its libraries map.
MOST_MEMORY = 3 << 30


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A baseline's answers.

    Attributes:
        name: for a sentence: ``the majority class 'No'``, ``logistic regression``.
        outputs: probabilities [rows, labels] or values [rows].
        rows: which of the held-out rows they are for, int64 [rows], ascending.
        facts: how it was made, plain JSON: ``rows_trained``, ``rows_judged``, ``features``, ``seconds``, ``note``.
        rule: how its probabilities become a label; None: the most probable.
    """

    name: str
    outputs: np.ndarray
    rows: np.ndarray
    facts: dict[str, Any]
    rule: Rule | None = None


def trivial(dataset: Dataset, labels: Sequence[str], metric: str, positive: str | None = None) -> Baseline:
    """What looks at no features, by the training rows: `Problem.trivial`."""
    name, outputs = dataset.problem.trivial(dataset, labels, metric, positive)
    facts = {"rows_trained": dataset.rows("train"), "rows_judged": len(outputs), "note": ""}
    return Baseline(name, outputs, np.arange(len(outputs)), facts)


def simple(
    dataset: Dataset,
    labels: Sequence[str],
    preprocess: Mapping[str, Any],
    side_files: Path,
    config: FloorConfig,
    positive: str | None = None,
) -> Baseline | str:
    """Logistic or ridge regression on the dataset's fields, in a process of its own.

    Args:
        dataset: its training rows are learnt from, its test rows answered.
        labels: the order of the answers' columns; empty for regression.
        preprocess, side_files: the package's pre-processing, and the folder of its side files.
        config: the project's ``evaluate``. Where it has a decision, the baseline's threshold is chosen as the model's is, on the validation rows.
        positive: the label that a threshold is for.

    Returns:
        The baseline, or why there is none; "" where answers of this kind have none.
    """
    if not dataset.problem.linear:
        return ""
    with tempfile.TemporaryDirectory(prefix="sluice-") as tmp:
        out = Path(tmp) / "answers.npz"
        request = {
            "dataset": str(dataset.root),
            "preprocess": dict(preprocess),
            "side_files": str(side_files),
            "out": str(out),
            "parent": os.getpid(),
            "labels": list(labels),
            "seconds": config.baselines.seconds,
            "validation": config.decision is not None,
        }
        start = time.perf_counter()
        try:
            done = warm.run(
                "baselines",
                "sluice.gates.baselines",
                [],
                said=orjson.dumps(request),
                env=_environment(),
                timeout=PATIENCE * config.baselines.seconds,
            )
        except subprocess.TimeoutExpired:
            return f"it was not done within {PATIENCE} times evaluate.baselines.seconds ({config.baselines.seconds:g}) by the clock"
        except OSError as e:
            return f"its process could not be started: {e}"
        if done.returncode or not out.exists():
            return _why(done.returncode, done.stderr.decode(errors="replace").strip().split("\n")[-1], config.baselines)
        with np.load(out, allow_pickle=False) as found:
            facts = orjson.loads(found["facts"].tobytes())
            facts["seconds"] = round(time.perf_counter() - start, 2)
            rule = None
            if config.decision is not None and positive is not None:
                column = dataset.read("validation", ["label"]).column("label").take(pa.array(found["validation_rows"]))
                rule = choose(found["validation"], dataset.problem.targets(column, labels), labels, positive, config.decision).rule
            return Baseline(facts.pop("name"), found["outputs"], found["rows"], facts, rule)


def _why(status: int, said: str, config: BaselinesConfig) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGKILL) and not said:
        return f"its process was ended: it needs more than evaluate.baselines.seconds ({config.seconds:g}) of processor time, or more memory than there is"
    if "MemoryError" in said or "Unable to allocate" in said:
        return f"it ran out of the {MOST_MEMORY >> 30} GiB it may use"
    return said[:300] or f"its process ended with status {status}"


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])  # the child runs this very code, wherever it lies
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}


def learn(
    train: pa.Table, tests: Sequence[pa.Table], fields: list[Block], labels: Sequence[str], asked: Problem | None = None
) -> tuple[str, list[np.ndarray], dict[str, Any]]:
    """Fit on `train`, answer each of `tests`.

    Logistic regression with scikit-learn's defaults (L2, C = 1, L-BFGS); over the many features of texts by
    coordinate descent in the dual (liblinear, C = 10), one class against the rest. Ridge regression with alpha = 1.
    A problem `asked` for may have a simple model of its own (`Problem.simple`).

    Returns:
        Its name; probabilities [rows, labels] or values [rows] of each table; facts.

    Raises:
        ValueError: nothing to learn from: no features, or rows of one class.
    """
    from scipy import sparse

    from sluice.gates.features import beside

    x = beside([f.fit(train) for f in fields], train.num_rows)
    if not x.shape[1]:
        raise ValueError("no field that varies in the training rows can be read as numbers")
    y = of_labels(labels).targets(train.column("label"), labels)
    passes = len(np.unique(y)) if len(labels) > 2 else 1
    work = (x.nnz if sparse.issparse(x) else x.size) * passes
    if work > MOST_WORK:
        kept = some(len(y), max(1, int(len(y) * MOST_WORK / work)))
        x, y = x[kept], y[kept]
    facts = {"rows_trained": len(y), "features": int(x.shape[1])}
    asked = asked or of_labels(labels)
    own = asked.simple(x, y, [functools.partial(_matrix, fields, test) for test in tests], labels)
    if own is not None:
        return asked.linear, own, facts
    if not of_labels(labels).classes:
        from sklearn.linear_model import Ridge

        ridge = Ridge(alpha=1.0).fit(x, y)
        return "ridge regression", [ridge.predict(_matrix(fields, test)) for test in tests], facts
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError("the training rows hold one class")
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    if sparse.issparse(x) and x.shape[1] > 5000:
        one: Any = LogisticRegression(solver="liblinear", dual=True, C=10.0, tol=0.01, random_state=0)
        model = one if len(classes) == 2 else OneVsRestClassifier(one)
    else:
        model = LogisticRegression(max_iter=300)
    model.fit(x, y)
    answers = []
    for test in tests:
        outputs = np.zeros((test.num_rows, len(labels)))
        outputs[:, model.classes_] = model.predict_proba(_matrix(fields, test))
        answers.append(outputs)
    return "logistic regression", answers, facts


def _matrix(fields: list[Block], table: pa.Table) -> Any:
    from sluice.gates.features import beside

    return beside([f.transform(table) for f in fields], table.num_rows)


def some(n: int, most: int) -> np.ndarray:
    """At most `most` of n rows, int64 ascending: one at random out of each of as many equal stretches. The same each time."""
    if n <= most:
        return np.arange(n)
    edges = np.linspace(0, n, most + 1).astype(np.int64)
    return np.random.default_rng(SEED).integers(edges[:-1], edges[1:])


def sampled(dataset: Dataset, split: str) -> tuple[pa.Table, np.ndarray]:
    """Rows of a split within the limits above, and which they are; a batch of the split in memory at a time."""
    from sluice.fields import fields_of

    fields = fields_of(dataset.columns).values()
    at = some(dataset.rows(split), MOST_ROWS if all(f.plain for f in fields) else MOST_DECODED)
    parts, seen = [], 0
    for batch in dataset.batches(split):
        parts.append(batch.take(pa.array(at[np.searchsorted(at, seen) : np.searchsorted(at, seen + batch.num_rows)] - seen)))
        seen += batch.num_rows
    table = pa.Table.from_batches(parts)
    characters = sum(int(pc.sum(pc.utf8_length(table.column(f.name))).as_py() or 0) for f in fields if f.words)
    if characters > MOST_CHARACTERS:
        fewer = some(len(at), max(1, int(len(at) * MOST_CHARACTERS / characters)))
        table, at = table.take(pa.array(fewer)), at[fewer]
    return table, at


class _NoPandas(importlib.abc.MetaPathFinder):
    """scikit-learn and Arrow look for pandas and do without it, which saves a third of the import."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not needed here", name=name)


def main() -> int:
    """The child: a request as JSON on stdin, the answers as a file."""
    warnings.simplefilter("ignore")
    sys.meta_path.insert(0, _NoPandas())
    from sluice.core.processes import die_with
    from sluice.fields import load_processor
    from sluice.gates.features import blocks_of

    request = orjson.loads(sys.stdin.buffer.read())
    die_with(request["parent"])
    _limit(request["seconds"])
    try:
        dataset = Dataset.open(Path(request["dataset"]), verify=False)
        train, _ = sampled(dataset, "train")
        test, at = sampled(dataset, "test")
        validation, others = sampled(dataset, "validation") if request["validation"] else (None, at[:0])
        fields = blocks_of(dataset.columns, load_processor(request["preprocess"], Path(request["side_files"])))
        name, answers, facts = learn(
            train, [test] if validation is None else [test, validation], fields, request["labels"], dataset.problem
        )
    except Exception as e:
        said = str(e).split("\n")[0]
        print(said if isinstance(e, ValueError) and said else f"{type(e).__name__}: {said}", file=sys.stderr)
        return 1
    facts |= {"name": name, "rows_judged": len(at), "note": _note(dataset, facts["rows_trained"], len(at))}
    np.savez(
        request["out"],
        outputs=answers[0],
        rows=at,
        validation=answers[-1],
        validation_rows=others,
        facts=np.frombuffer(orjson.dumps(facts), dtype=np.uint8),
    )
    return 0


def _note(dataset: Dataset, trained: int, judged: int) -> str:
    parts = [
        f"{what} {n:,} of {dataset.rows(split):,} {kind} rows, spread over all"
        for what, n, split, kind in (("trained on", trained, "train", "training"), ("judged on", judged, "test", "held-out"))
        if n < dataset.rows(split)
    ]
    return "; ".join(parts)


def _limit(seconds: float) -> None:
    """Hold this process to `seconds` of processor time and `MOST_MEMORY`, or to what it is held to already."""
    import resource

    for what, most in ((resource.RLIMIT_DATA, MOST_MEMORY), (resource.RLIMIT_CPU, math.ceil(seconds))):
        hard = resource.getrlimit(what)[1]
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main())
