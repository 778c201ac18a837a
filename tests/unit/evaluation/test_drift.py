"""Training rows that moved away from the champion's: a caution, a refusal where a limit is set, and silence where chance explains it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from sluice.data.dataset import write_dataset
from sluice.data.profile import profile_dataset
from sluice.gates.config import EvaluateConfig
from sluice.gates.drift import Drift
from sluice.problems.units import GROUP


def dataset(root, n, seed, shift=0.0, rare=0.1, groups=None, wide=1):
    rng = np.random.default_rng(seed)
    x = {f"x{i}": rng.normal(shift if i == 0 else 0, 1, n) for i in range(wide)}
    if groups:  # rows of a group are alike
        x = {name: np.repeat(v[:: n // groups][:groups], n // groups) for name, v in x.items()}
    rows = {
        "row_id": [f"{i:016x}" for i in range(n)],
        **x,
        "city": rng.choice(["Oslo", "Rome"], n, p=[rare, 1 - rare]).tolist(),
        "label": rng.choice(["a", "b"], n).tolist(),
    }
    if groups:
        rows[GROUP] = [f"g{i * groups // n}" for i in range(n)]
    return write_dataset(
        root,
        {"train": pa.table(rows), "test": pa.table(rows).slice(0, 20)},
        task="tabular",
        objective="classification",
        labels=["a", "b"],
        columns={**dict.fromkeys(x, "numeric"), "city": "categorical"},
        source={},
        shard_rows=10_000,
        grouped_by="user" if groups else None,
        profile=profile_dataset,
    )


def judged(champion, candidate, **settings):
    facts = SimpleNamespace(champion=SimpleNamespace(profile=champion.profile, digest="c" * 64), dataset=candidate)
    return Drift().judge(facts, EvaluateConfig(**settings))


def test_a_column_that_moved_is_a_caution_and_beyond_a_limit_a_refusal(tmp_path):
    old, new = dataset(tmp_path / "a", 2000, 0), dataset(tmp_path / "b", 2000, 1, shift=1.0)
    said = judged(old, new)
    assert said.decision == "pass" and "x0 (" in said.cautions[0] and "evaluate.drift_max" in said.cautions[0]
    assert [p["name"] for p in said.evidence["drift"]["parts"] if p["moved"]] == ["x0"]
    assert judged(old, new, drift_max=0.25).decision == "refuse"
    assert judged(old, new, drift_max=5.0).decision == "pass"
    page = Drift().section(said)
    assert "1 of 3 moved" in page and "x0" in page


def test_a_category_and_the_labels_are_compared_too(tmp_path):
    said = judged(dataset(tmp_path / "a", 2000, 0), dataset(tmp_path / "b", 2000, 1, rare=0.7))
    assert [p["name"] for p in said.evidence["drift"]["parts"] if p["moved"]] == ["city"]
    assert {p["name"] for p in said.evidence["drift"]["parts"]} == {"x0", "city", "label"}


def test_few_rows_of_one_distribution_are_seldom_said_to_have_moved(tmp_path):
    named = 0
    for seed in range(10):  # 300 columns of 30 rows, where a third of distances are beyond 0.25
        old, new = (dataset(tmp_path / f"{w}{seed}", 30, 100 * seed + i, wide=30) for i, w in enumerate("ab"))
        found = judged(old, new, drift_max=0.25).evidence["drift"]
        assert found["parts"][0]["psi"] > 0.25
        named += found["moved"]
    assert named <= 2


def test_rows_of_one_unit_count_as_one(tmp_path):
    old, new = (dataset(tmp_path / w, 2000, i, groups=20) for i, w in enumerate("ab"))
    found = judged(old, new, drift_max=0.25)
    assert found.evidence["drift"]["parts"][0]["psi"] > 0.25 and found.decision == "pass"


def test_without_a_champion_or_its_profile_nothing_is_said():
    for champion in (None, SimpleNamespace(profile=lambda: None, digest="c")):
        said = Drift().judge(SimpleNamespace(champion=champion, dataset=None), EvaluateConfig())
        assert (said.decision, said.evidence, said.cautions) == ("pass", {}, ())


@pytest.mark.parametrize("wrong", [0.0, -1.0, "far"])
def test_a_limit_is_a_number_above_0(wrong):
    with pytest.raises(ValueError, match="drift_max"):
        EvaluateConfig(drift_max=wrong)


@pytest.mark.parametrize(("objective", "kind"), [("multilabel", pa.string()), ("arrays", pa.float64())])
def test_labels_that_are_lists_are_compared_as_the_profile_has_them(tmp_path, objective, kind):
    rng = np.random.default_rng(3)

    def rows(root, most):
        if objective == "multilabel":
            label = [["a", "b", "c"][: rng.integers(0, most)] for _ in range(1000)]
        else:
            label = [[float(v), 0.0] for v in rng.normal(most, 1, 1000)]
        table = pa.table(
            {"row_id": [f"{i:016x}" for i in range(1000)], "x": rng.normal(size=1000), "label": pa.array(label, pa.list_(kind))}
        )
        splits = {"train": table, "test": table.slice(0, 20)}
        names = ["a", "b", "c"] if objective == "multilabel" else ["0", "1"]
        return write_dataset(
            root,
            splits,
            task="t",
            objective=objective,
            labels=names,
            columns={"x": "numeric"},
            source={},
            shard_rows=10_000,
            profile=profile_dataset,
        )

    old, same, other = rows(tmp_path / "a", 4), rows(tmp_path / "b", 4), rows(tmp_path / "c", 1)
    assert not judged(old, same).cautions and judged(old, same).evidence["drift"]["compared"] == 2
    assert "label (" in judged(old, other).cautions[0]
