"""Real data: does the default model lose to something simple? ``python -m tests.bench.real [FOLDER ...]``.

For every set (`tests.bench.real_sets`) the project that `sluice init --data` writes, or one of three lines, goes through the steps up to `evaluate`, one set after another,
each in a process of its own. On the same held-out rows, with paired intervals, stand the trivial baseline, the linear one
(both are the evaluation's own) and scikit-learn's HistGradientBoosting with its defaults, trained on the same training rows.
Results are kept a set a file, so a run goes on where it stopped. The table is Markdown.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.core.errors import SluiceError
from tests.bench.real_sets import find

ROOT = Path(__file__).parents[2]
OUT = ROOT / "bench-results" / "real"


def measure(project: dict[str, Any], work: Path) -> dict[str, Any]:
    """One set: the steps, then HistGradientBoosting beside them."""
    from components.evaluate import logic as evaluate
    from components.export_onnx import logic as export_onnx
    from components.preprocess import logic as preprocess
    from components.train import logic as train
    from components.validate_data import logic as validate_data
    from sluice.core.gate import Gate

    text, base, home, begun = orjson.dumps(project).decode(), str(work), str(work / "home"), time.perf_counter()
    at = {n: str(work / n) for n in ("dataset", "model", "package", "report")}

    def gate(step: str) -> str:
        return str(work / "gates" / step / "gate")

    validate_data.run(project, "", {}, {}, base, gate_path=gate("validate"), report_path=at["report"])
    checked = Gate.read(Path(gate("validate")))
    preprocess.run(text, base, dataset_path=at["dataset"], gate_path=gate("preprocess"))
    train.run(text, base, home, dataset_path=at["dataset"], model_path=at["model"], gate_path=gate("train"))
    export_onnx.run(
        text,
        base,
        dataset_path=at["dataset"],
        model_path=at["model"],
        package_path=at["package"],
        report_path=at["report"],
        gate_path=gate("export"),
    )
    evaluate.run(
        text, base, home, "", dataset_path=at["dataset"], package_path=at["package"], report_path=at["report"], gate_path=gate("evaluate")
    )
    judged = Gate.read(Path(gate("evaluate")))
    seconds = time.perf_counter() - begun
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    found, floor = judged.evidence["evaluation"], judged.evidence["floor"]
    others = {
        "trivial": floor["trivial"],
        "simple": floor["simple"],
        "boosting": boosting(project, Path(at["dataset"]), Path(at["package"])),
    }
    return {
        "metric": found["metric"],
        "value": found["value"],
        "low": found["low"],
        "high": found["high"],
        "rows": Gate.read(Path(gate("preprocess"))).evidence["rows"],
        "verdict": floor["verdict"],
        "others": others,
        "refused_by_checks": list(checked.reasons) if checked.decision == "refuse" else [],
        "decision": judged.decision,
        "reasons": list(judged.reasons),
        "format": judged.evidence["precision"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "beaten_by": [name for name, c in others.items() if c.get("high") is not None and c["high"] < 0],
    }


def boosting(project: dict[str, Any], dataset_path: Path, package_path: Path) -> dict[str, Any]:
    """HistGradientBoosting with its defaults, compared as the baselines are; why not, where its fields cannot be read."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    from sluice import project as projects
    from sluice.data.dataset import Dataset
    from sluice.engines.predictor import Predictor
    from sluice.engines.scoring import answers, positive_label
    from sluice.gates import features
    from sluice.package import package as packages
    from sluice.problems.comparison import compare

    settings, dataset, package = projects.parse(project).evaluate, Dataset.open(dataset_path, verify=False), packages.read(package_path)
    if "text" in dataset.columns.values():
        return {"missing": "has no texts"}
    labels, train, test = list(package.labels), dataset.read("train"), dataset.read("test")
    columns = [_column(name, kind, train, test) for name, kind in dataset.columns.items() if kind in ("categorical", "numeric")]
    rest = features.blocks_of(
        {n: k for n, k in dataset.columns.items() if k not in ("categorical", "numeric")}, Predictor(package).processor
    )
    columns += [(_dense(f.fit(train)), _dense(f.transform(test)), False) for f in rest]
    x, xt = (np.concatenate([c[i] for c in columns], axis=1) for i in (0, 1))
    categories = np.concatenate([np.full(c[0].shape[1], c[2]) for c in columns])
    y = dataset.problem.targets(train.column("label"), labels)
    kind = HistGradientBoostingClassifier if labels else HistGradientBoostingRegressor
    model = kind(categorical_features=categories if categories.any() else None, random_state=0).fit(x, y)
    if labels:
        outputs = np.zeros((len(xt), len(labels)))
        outputs[:, model.classes_] = model.predict_proba(xt)
    else:
        outputs = model.predict(xt)
    ours = answers(Predictor(package).predict, package.preprocess, dataset, "test")
    c = compare(
        ours,
        outputs,
        dataset.problem.targets(test.column("label"), labels),
        labels,
        labels,
        settings,
        rule=package.rule,
        positive=positive_label(settings, dataset),
    )
    return {"baseline": c["champion"], **{k: c[k] for k in ("difference", "low", "high")}}


def _column(name: str, kind: str, train: Any, test: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """A column's numbers in both splits, and whether they are codes of categories: of the 254 most frequent ones, which is what it takes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from sluice.gates.features import Categories

    def numbers(column: Any) -> np.ndarray:
        return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)[:, None]

    if kind == "numeric":
        return numbers(train.column(name)), numbers(test.column(name)), False
    known = Categories(name)
    known.fit(train)
    first, second = (numbers(pc.index_in(t.column(name).cast(pa.string()), known.values[:254])) for t in (train, test))
    return first, second, True


def _dense(matrix: Any) -> np.ndarray:
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())


def run(project: dict[str, Any], seconds: float) -> dict[str, Any]:
    """One set in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="sluice-real-") as work:
        request = orjson.dumps({"project": project, "work": work})
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.bench.real", "--one"],
                input=request,
                capture_output=True,
                cwd=ROOT,
                timeout=seconds,
                env={"OMP_NUM_THREADS": "1", **os.environ},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not done in {seconds:g} s"}
        if done.returncode:
            return {"failed": done.stderr.decode(errors="replace").strip()[-2000:]}
        found: dict[str, Any] = orjson.loads((Path(work) / "result.json").read_bytes())
        return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _against(c: dict[str, Any]) -> str:
    if "missing" in c:
        return f"– ({c['missing'][:40]})"
    limits = f" [{c['low']:+.3g}, {c['high']:+.3g}]" if c["low"] is not None else ""
    return f"{_number(c['baseline'])}: {c['difference']:+.3g}{limits}" if c["difference"] is not None else _number(c["baseline"])


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: the value of each other model, and by how much ours is better (turned so that more is better), with its 95 % interval."""
    lines = [
        "| set | rows (held out) | metric | Sluice | trivial | linear: ours better by | boosting: ours better by | beaten beyond doubt by | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in sorted(results.items()):
        if "failed" in r:
            lines.append(f"| {name} | | | failed: {r['failed'].splitlines()[-1][:80]} | | | | | |")
            continue
        rows = f"{sum(r['rows'].values()):,} ({r['rows']['test']:,})"
        beaten = ", ".join({"simple": "linear"}.get(b, b) for b in r["beaten_by"]) or "none"
        note = "".join(["" if not r["refused_by_checks"] else " ¹", "" if r["decision"] != "refuse" else " ²"])
        lines.append(
            f"| {name}{note} | {rows} | {r['metric']} | {_number(r['value'])} | {_number(r['others']['trivial']['baseline'])} | {_against(r['others']['simple'])} | "
            f"{_against(r['others']['boosting'])} | {beaten} | {r['cpu_seconds']:.0f} |"
        )
    kept = [r for r in results.values() if "failed" not in r]
    lost = sorted(n for n, r in results.items() if {"trivial", "simple"} & set(r.get("beaten_by", ())))
    notes = [
        f"¹ `validate_data` refuses it: {n}: {r['refused_by_checks'][0]}" for n, r in sorted(results.items()) if r.get("refused_by_checks")
    ]
    notes += [f"² `evaluate` refuses it: {n}: {r['reasons'][0]}" for n, r in sorted(results.items()) if r.get("decision") == "refuse"]
    lines += [
        "",
        f"{len(kept)} sets; beaten beyond doubt by a trivial or a linear model on {len(lost)}" + (f": {', '.join(lost)}." if lost else "."),
        *notes,
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="folders of data files")
    parser.add_argument("--hints", type=Path, help="a YAML file of what cannot be guessed (see real_sets)")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--seconds", type=float, default=3600, help="the longest a set may take")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        request = orjson.loads(sys.stdin.buffer.read())
        found = measure(request["project"], Path(request["work"]))
        (Path(request["work"]) / "result.json").write_bytes(orjson.dumps(found))
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    sets = find([f.resolve() for f in args.folders], args.hints, (OUT / "data").resolve())
    unknown = sorted(set(args.only or ()) - set(sets))
    if unknown:
        parser.error(f"no set is called {', '.join(unknown)}; there are {', '.join(sets)}")
    results = {}
    for name in args.only or sets:
        kept = OUT / f"{name}.json"
        if args.again or not kept.exists():
            try:
                found = run(sets[name](), args.seconds)
            except SluiceError as e:
                found = {"failed": str(e).replace("\n", " ")}
            print(f"{name}: {found.get('failed') or ' '.join(found['reasons'])}"[-600:], flush=True)
            if "failed" not in found:
                kept.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        results[name] = orjson.loads(kept.read_bytes()) if kept.exists() else found
    print("\n" + table(results))
    return int(any("failed" in r for r in results.values()))


if __name__ == "__main__":
    sys.exit(main())
