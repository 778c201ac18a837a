"""Predict every row of Parquet files with a package: streamed, on all cores, through the code that serves."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from components.batch_predict.part import Work, key_of
from components.batch_predict.parts import by_processes, by_workers, finished, ledger_of, put_together
from sluice.core.errors import DataError, ProjectError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.core.processes import cpu_quota
from sluice.data import locations
from sluice.data.report import counted
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.package.store import open_store
from sluice.steps.execute import run_step

ENGINES = ("local", "ray")
_PART = "part-{:05d}.parquet"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did. `bad`: rows that could not be predicted; `first_bad`: where the first is and why; `empty`: rows without a text or image, left out.

    `parts`: of the result, one an input file; `reused`: those an earlier run had finished.
    """

    rows: int
    bad: int
    labels: dict[str, int]
    first_bad: str | None
    empty: int = 0
    parts: int = 0
    reused: int = 0


def run(
    package: str,
    source: str,
    output_path: str,
    *,
    digest: str = "",
    home: str = "",
    keep: str = "row_id",
    max_bad: float = 0.0,
    batch_size: int = 64,
    workers: int = 0,
    engine: str = "local",
    gate_path: str,
) -> Gate:
    """The step: a gate with the rows, labels and rows a second as evidence; refused when too many rows cannot be used.

    Args:
        package: a package's directory, or its registered address (``.../sha256/<digest>``).
        keep: columns copied to the output, separated by commas; those a file does not have are left out.
        workers: cores; 0: those this process may use.
        engine: ``local``, or ``ray``: the workers of the cluster that ``RAY_ADDRESS`` names, or of this machine.
    """
    if engine not in ENGINES:
        raise ProjectError("is no engine", field="engine", value=engine, fix=f"use {' or '.join(ENGINES)}")

    def work() -> Gate:
        directory = Path(package)
        found = (
            packages.read(directory, digest or None)
            if directory.is_dir()
            else open_store(package, Home(home or None)).get(digest or package.rsplit("/", 1)[-1])
        )
        columns = [c.strip() for c in keep.split(",") if c.strip()]
        with locations.files_of(source, Path()) as here:
            inputs = [path for place in here for path in sources(str(place.path))]
            done = predict_files(
                found,
                inputs,
                Path(output_path),
                keep=columns,
                tolerate=max_bad > 0,
                batch_size=batch_size,
                workers=workers or cpu_quota(),
                engine=engine,
            )
        share = done.bad / done.rows if done.rows else 0.0
        evidence: dict[str, Any] = {**dataclasses.asdict(done), "digest": found.digest, "output": output_path}
        if share > max_bad:
            return Gate(
                "batch_predict", "refuse", (f"{done.bad} of {done.rows} rows cannot be predicted; the first: {done.first_bad}",), evidence
            )
        left_out = (
            (f"{counted(done.empty, 'row')} of {done.rows:,} without a text or image {'was' if done.empty == 1 else 'were'} left out",)
            if done.empty
            else ()
        )
        return Gate("batch_predict", "pass", left_out, evidence)

    return run_step(work, gate_path, step="batch_predict")


def sources(source: str) -> list[Path]:
    """Parquet files of a folder (searched below), in the order of their names, or the one file.

    Raises:
        DataError: there is none.
    """
    path = Path(source)
    inside = path.rglob("*.parquet")
    found = [path] if path.is_file() else sorted(p for p in inside if not any(n.startswith((".", "_")) for n in p.relative_to(path).parts))
    if not found:
        raise DataError("no Parquet file is there", field="source", value=source, fix="name a .parquet file, a folder of them, or a glob")
    return found


def predict_files(
    package: Package,
    inputs: list[Path],
    out: Path,
    *,
    keep: list[str] | None = None,
    tolerate: bool = False,
    batch_size: int = 64,
    workers: int = 1,
    engine: str = "local",
) -> Summary:
    """Write one part of predictions an input file; the folder appears whole, in the rows' order.

    Each part is predicted by itself and written down beside the folder once it is whole, so a run that was ended does only what is missing when
    it is started again, as does one after some input files have changed.

    Columns: `keep`'s, then ``prediction`` (string), ``probability`` (float32) and ``probabilities``
    (list of float32, in the order of the labels in the schema's metadata), or ``value`` (float32); then
    ``error`` (string), null where a row was predicted. The package's digest is in the metadata too.

    Args:
        package: verified.
        tolerate: rows that cannot be used are marked in ``error`` and counted as bad; otherwise the first ends the run, but for rows
            without a text or image, which are marked and counted apart.
        batch_size: rows of one run of the graph.
        workers: cores: a process a part where there is enough to do, else threads (ONNX Runtime and the tokenizer let go of the
            interpreter's lock).
        engine: ``local``, or ``ray`` for a task a part.

    Raises:
        DataError: a file cannot be read or lacks a feature, or a row cannot be used and `tolerate` is off.
        PartLost, WorkersLost: the process, or the worker, of a part ended each time it was tried.
    """
    folder = ledger_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(package.root, package.digest, folder, tuple(keep or ()), tolerate, batch_size, workers)
    parts = [(key_of(package, path, work), path) for path in inputs]
    keys = [key for key, _ in parts]
    before = finished(folder, out, keys)
    missing = [(key, path) for key, path in dict(parts).items() if key not in before]
    for key, _ in missing:  # of a record whose part is not there, or was changed
        (folder / f"{key}.json").unlink(missing_ok=True)
    try:
        if missing and engine == "ray":
            by_workers(dataclasses.replace(work, threads=1), missing)
        elif missing:
            by_processes(work, missing, workers)
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
    found = finished(folder, out, keys)
    put_together(folder, out, {key: path for key, (path, _) in found.items()}, keys, _PART.format)
    return _summed([found[key][1] for key in keys], len(inputs) - sum(key in dict(missing) for key in keys))


def _summed(records: list[dict[str, Any]], reused: int) -> Summary:
    labels: Counter[str] = Counter()
    for record in records:
        labels.update(record["labels"])
    first = next((r["first_bad"] for r in records if r["first_bad"]), None)
    rows, bad, empty = (sum(r[k] for r in records) for k in ("rows", "bad", "empty"))
    return Summary(rows, bad, dict(sorted(labels.items())), first, empty, len(records), reused)
