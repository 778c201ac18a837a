"""Training speed on this machine against transformers' Trainer and a plain loop: ``python -m tests.bench.training``.

Every contender fine-tunes MiniLM on the same 1,024 rows of clinc150, one thread a process, 32 rows
a process and step; each round runs all of them one after another, so that a slow minute of the
machine falls on all. Rates are of the second epoch. Reported are medians over the rounds and, since
the machine may be shared, rows a CPU second beside rows a second. `accelerate`, which Trainer needs,
is fetched by `uv` into a folder of the bench's own; where it cannot be, that row is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.bench.tools import uv
from tests.bench.training_clinc import ROOT, clinc_dataset, clinc_project, minilm

#: Fewer rows make a smoke test: rates of so short an epoch say nothing. A GPU wants them all, and larger batches beside.
ROWS, BATCH = int(os.environ.get("SLUICE_BENCH_ROWS", "1024")), int(os.environ.get("SLUICE_BENCH_BATCH", "32"))
DEVICE = os.environ.get("SLUICE_BENCH_DEVICE", "cpu")


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def subset(data: Path, rows: int = ROWS) -> tuple[list[str], list[int]]:
    """The first texts of the training rows and their class numbers."""
    from sluice.data.dataset import Dataset

    dataset = Dataset.open(data, verify=False)
    table = dataset.read("train").slice(0, rows)
    return table.column("text").to_pylist(), [dataset.labels.index(v) for v in table.column("label").to_pylist()]


def plain(data: Path, _: Path) -> dict[str, float]:
    """FP32, every text padded to 128 tokens, AdamW: the loop one writes first. The first steps do not count."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=150).train().to(DEVICE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5)
    warm, steps = (1, 5) if DEVICE == "cpu" else (5, min(30, ROWS // BATCH - 5))
    texts, labels = subset(data, (warm + steps) * BATCH)
    for step in range(warm + steps):
        if step == warm:
            settled()
            wall, cpu = time.perf_counter(), time.process_time()
        part = slice(step * BATCH, (step + 1) * BATCH)
        batch = tokenizer(texts[part], padding="max_length", max_length=128, truncation=True, return_tensors="pt").to(DEVICE)
        model(**batch, labels=torch.tensor(labels[part], device=DEVICE)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    settled()
    return {
        "rows_per_second": steps * BATCH / (time.perf_counter() - wall),
        "rows_per_cpu_second": steps * BATCH / (time.process_time() - cpu),
    }


def settled() -> None:
    """Wait for what a GPU has been given."""
    import torch

    if DEVICE != "cpu":
        torch.cuda.synchronize()


def trainer(data: Path, work: Path) -> dict[str, float]:
    """transformers' Trainer: bf16, batches of like length, padded to their longest, fused AdamW."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=150)
    texts, labels = subset(data)
    encoded = tokenizer(texts, truncation=True, max_length=64)
    rows = [
        {"input_ids": i, "attention_mask": m, "length": len(i), "labels": y}
        for i, m, y in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
    ]
    marks: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            settled()
            marks.append((time.perf_counter(), time.process_time()))

        on_epoch_end = on_epoch_begin

    arguments = TrainingArguments(
        output_dir=str(work),
        use_cpu=DEVICE == "cpu",
        bf16=True,
        per_device_train_batch_size=BATCH,
        num_train_epochs=2,
        learning_rate=2e-4,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        max_grad_norm=1.0,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=True,
        dataloader_pin_memory=DEVICE != "cpu",
        dataloader_num_workers=0 if DEVICE == "cpu" else 4,
        dataloader_persistent_workers=DEVICE != "cpu",
    )
    Trainer(model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Clock()]).train()
    (w0, c0), (w1, c1) = marks[2], marks[3]
    return {"rows_per_second": ROWS / (w1 - w0), "rows_per_cpu_second": ROWS / (c1 - c0)}


def ours(processes: int, freeze: bool = False, **train: Any) -> Callable[[Path, Path], dict[str, float]]:
    """Sluice with `processes`, each with 32 rows a step and 1,024 an epoch; the CPU time is one process's."""

    def measure(data: Path, work: Path) -> dict[str, float]:
        from sluice.data.dataset import Dataset, write_dataset
        from sluice.learners.fit import fit

        whole = Dataset.open(data, verify=False)
        small = write_dataset(
            work / "data",
            {"train": whole.read("train").slice(0, processes * ROWS)},
            task="text",
            objective="classification",
            labels=whole.labels,
            columns=whole.columns,
            source={},
            shard_rows=100_000,
        )
        base = clinc_project(epochs=2, processes=processes, batch_size=BATCH * processes, label_smoothing=0.0, device=DEVICE, **train)
        project = base.model_copy(update={"model": base.model.model_copy(update={"freeze_embeddings": freeze})})
        second = fit(project, small, work / "out", base_dir=ROOT).history[1]
        return {"rows_per_second": second["samples_per_second"], "rows_per_cpu_second": ROWS / second["cpu_seconds"]}

    return measure


def checkpoints(data: Path, work: Path) -> dict[str, float]:
    """What a checkpoint of this model costs: the copy, which the step waits for, and the writer's CPU time beside it."""
    import torch

    from sluice.data.dataset import Dataset
    from sluice.learners.torch.checkpoint import Checkpoints
    from sluice.learners.torch.encode import Encoded, encode_split
    from sluice.learners.torch.network import network_of
    from sluice.learners.torch.optimiser import Optimiser
    from sluice.learners.torch.plan import Plan
    from sluice.tasks import load_task

    torch.set_num_threads(1)
    project = clinc_project()
    network, dataset = network_of(load_task(project, ROOT)), Dataset.open(data, verify=False)
    state = network.fit(dataset)
    model = network.build(state)
    encode_split(state, dataset, "validation", work / "encoded")
    network.adapt(model, state, Encoded(work / "encoded", state.processor))
    optimiser = Optimiser(model, Plan(**project.train.model_dump(exclude_none=True)))
    kept = Checkpoints(work / "checkpoints", 2, print)
    copies, cpus = [], []
    for step in range(5):
        cpu, before = time.process_time(), kept.seconds_copying
        kept.save(step, model.state_dict(), optimiser.tensors(), {"step": step}, wait=True)
        cpus.append(time.process_time() - cpu)
        copies.append(kept.seconds_copying - before)
    interval = project.train.checkpoint.every_seconds
    size = sum(p.stat().st_size for p in (kept.root / "step-000000004").iterdir())
    return {
        "copy_ms": 1000 * statistics.median(copies),
        "cpu_ms": 1000 * statistics.median(cpus),
        "megabytes": size / 1e6,
        "percent_of_step_time": 100 * statistics.median(cpus) / interval,
    }


def resume(data: Path, work: Path) -> dict[str, float]:
    """Seconds from the start to the first report of a step, fresh and from a checkpoint; the median of three each."""
    code = (
        "import sys, time, orjson; t = time.time()\nfrom pathlib import Path\nfrom sluice.data.dataset import Dataset\n"
        "from sluice.learners.fit import fit\nfrom tests.bench.training_clinc import clinc_project, ROOT\n"
        "def tell(e):\n    print(orjson.dumps({**e, 'at': time.time() - t}).decode(), flush=True)\n"
        "p = clinc_project(checkpoint={'every_seconds': 0.5})\n"
        "fit(p, Dataset.open(Path(sys.argv[1]), verify=False), Path(sys.argv[2]), base_dir=ROOT, checkpoints=Path(sys.argv[3]), on_event=tell)\n"
    )

    def first_step(checkpoints: Path, stop_after: int) -> float:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(data), str(work / "out"), str(checkpoints)], stdout=subprocess.PIPE, cwd=ROOT
        )
        first, steps = 0.0, 0
        assert process.stdout is not None
        for line in process.stdout:
            event = orjson.loads(line)
            if event["kind"] == "step":
                first, steps = first or event["at"], steps + 1
                if steps == stop_after:
                    break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        return first

    fresh, resumed = [], []
    for i in range(3):
        fresh.append(first_step(work / f"checkpoints-{i}", 8))
        resumed.append(first_step(work / f"checkpoints-{i}", 1))
    return {
        "fresh_seconds": statistics.median(fresh),
        "resumed_seconds": statistics.median(resumed),
        "over_fresh": statistics.median(r / f for r, f in zip(resumed, fresh, strict=True)),
    }


CONTENDERS: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    "plain": plain,
    "trainer": trainer,
    "sluice": ours(1),
    "sluice-2": ours(2),
    "sluice-frozen": ours(1, freeze=True),
    "sluice-frozen-2": ours(2, freeze=True),
    "sluice-fused": ours(1, attention="fused", deterministic=False),
    "sluice-compiled": ours(1, attention="fused", deterministic=False, compile=True),
}
if DEVICE != "cpu":  # one process to a GPU: two would only share it
    CONTENDERS = {n: CONTENDERS[n] for n in ("plain", "trainer", "sluice", "sluice-fused", "sluice-compiled")}
ONCE = {"checkpoints": checkpoints, "resume": resume}


def peers(into: Path) -> bool:
    """Fetch what Trainer needs, unless it is installed; false where that fails."""
    if importlib.util.find_spec("accelerate"):
        return True
    try:
        subprocess.run(
            [uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(into), "accelerate==1.15.0"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"accelerate cannot be fetched, so Trainer is left out: {getattr(e, 'stderr', '') or e}", file=sys.stderr)
        return False
    return True


def run(name: str, data: Path, path: Path) -> dict[str, float]:
    """One measurement in a process of its own."""
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.training", "--one", name, str(data), work],
            capture_output=True,
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "PYTHONPATH": os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])]),
            },
        )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr.decode()[-3000:]}")
    found: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=[*CONTENDERS, *ONCE], metavar="NAME", help=f"of {', '.join([*CONTENDERS, *ONCE])}; default: all"
    )
    parser.add_argument("--one", nargs=3, metavar=("NAME", "DATA", "WORK"), help="what a measurement's own process is started with")
    args = parser.parse_args()
    if args.one:
        name, data, work = args.one
        print(orjson.dumps({**CONTENDERS, **ONCE}[name](Path(data), Path(work))).decode())
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        clinc_dataset(clinc_project(), Path(tmp) / "data")
        path = Path(tmp) / "peers"
        wanted = args.only or [*CONTENDERS, *ONCE]
        names = [n for n in CONTENDERS if n in wanted and (n != "trainer" or peers(path))]
        rounds: dict[str, list[dict[str, float]]] = {n: [] for n in names}
        for number in range(args.rounds):
            for name in names:
                rounds[name].append(run(name, Path(tmp) / "data", path))
                print(
                    f"round {number + 1}, {name}: {rounds[name][-1]['rows_per_second']:.1f} rows/s (load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )
        once = {name: run(name, Path(tmp) / "data", path) for name in ONCE if name in wanted}
    report(rounds, once)
    return 0


def report(rounds: dict[str, list[dict[str, float]]], once: dict[str, dict[str, float]]) -> None:
    """The table: medians over rounds of each round's own ratio."""

    def ratio(what: str, a: str, b: str, by: float = 1.0) -> str:
        if a not in rounds or b not in rounds:
            return "not measured"
        found = [x[what] / y[what] * by for x, y in zip(rounds[a], rounds[b], strict=True)]
        return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"

    def both(what: str, a: str, b: str, processes: int, target: str) -> tuple[str, str, str, str]:
        # The CPU time is one process's for one process's rows: its ratio is already a process's share.
        return what, ratio("rows_per_second", a, b, 1 / processes), ratio("rows_per_cpu_second", a, b), target

    def single(name: str, what: str, digits: int) -> str:
        return f"{once[name][what]:.{digits}f}" if name in once else "not measured"

    lines = [
        both("over the plain FP32 loop padded to 128", "sluice", "plain", 1, ">= 8"),
        both("over transformers' Trainer, same precision and bucketing", "sluice", "trainer", 1, ">= 1.08"),
        *(
            both(f"{how}, over {peer}", name, contender, 1, target)
            for name, how in (("sluice-fused", "fused attention"), ("sluice-compiled", "fused and compiled"))
            for contender, peer, target in (("plain", "the plain loop", ">= 8 on a GPU"), ("trainer", "Trainer", ">= 1.08 on a GPU"))
            if name in rounds
        ),
        both("2 processes over 1, a process", "sluice-2", "sluice", 2, ">= 0.87"),
        both("the same with frozen embeddings", "sluice-frozen-2", "sluice-frozen", 2, ">= 0.92"),
        ("checkpoints at the default interval, % of the time", "", single("checkpoints", "percent_of_step_time", 2), "<= 1"),
        ("a checkpoint's copy, ms", single("checkpoints", "copy_ms", 0), "", ""),
        ("resume to first step, over a fresh start's", single("resume", "over_fresh", 2), "", "<= 1.3"),
    ]
    print("\n| what | rows a second (range) | rows a CPU second (range) | target |\n|---|---|---|---|")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    out = ROOT / "bench-results"
    out.mkdir(exist_ok=True)
    (out / "training.json").write_bytes(orjson.dumps({"rounds": rounds, "once": once}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    sys.exit(main())
