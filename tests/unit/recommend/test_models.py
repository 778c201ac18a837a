"""What is learnt answers the same in numpy and in its graph, hides what was taken, and finds a structure that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from sluice.core.errors import InputError, ProjectError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.fields import load_processor
from sluice.learners.fit import fit, load_trained
from sluice.project import parse
from sluice.tasks import load_task
from tests.tools.interactions import write


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommend")
    write(folder / "visits.csv", users=120, items=60)
    return folder


def made(place: Path, **model: Any) -> tuple[Any, Dataset]:
    raw = {"name": "shop", "task": "recommend", "data": {"source": "visits.csv"}, "model": model}
    project = parse(raw, base_dir=place)
    return project, prepare(project, place, load_task(project, place), place / "data")


SETTINGS: dict[str, dict[str, Any]] = {
    "popularity": {"method": "popularity"},
    "ease": {"method": "ease", "regularisation": 50.0},
    "transitions": {"method": "transitions", "regularisation": 1.0},
    "factors": {"method": "factors", "unobserved": 0.3, "regularisation": 0.01, "dimensions": 8, "iterations": 3},
}


@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("repeat", [False, True])
def test_the_graph_ranks_as_numpy_does(place: Path, tmp_path: Path, method: str, repeat: bool) -> None:
    project, dataset = made(place, **SETTINGS[method], repeat=repeat)
    trained = fit(project, dataset, tmp_path / "model", base_dir=place)
    again = load_trained(project, tmp_path / "model", place)
    histories = [*dataset.read("test", ["history"]).column(0).to_pylist(), [], ["nothing known"], dataset.labels[:59]]
    inputs = trained.processor.encode_batch([{"history": h} for h in histories])
    graph = trained.graph(20)
    onnx.checker.check_model(graph, full_check=True)
    ranking, unknown = ort.InferenceSession(graph.SerializeToString()).run(None, inputs)
    assert dataset.problem.apart(ranking, trained.run(inputs)) < 1e-4
    assert np.array_equal(trained.run(inputs), again.run(inputs))
    assert unknown[-2] == 1 and unknown[:-2].sum() == 0
    names = dataset.problem.told(ranking, dataset.labels)["items"]
    if not repeat:
        assert all(not set(found) & set(history) for found, history in zip(names.tolist(), histories, strict=True))
        assert [n for n in names[-1] if n] == dataset.labels[59:] or not any(names[-1])
    assert names[-3].tolist() == names[-2].tolist()  # new users, and those of whom nothing is known


def test_tastes_are_found_and_equal_seeds_give_equal_models(place: Path, tmp_path: Path) -> None:
    for method in ("ease", "factors"):
        project, dataset = made(place, **SETTINGS[method])
        one = fit(project, dataset, tmp_path / f"{method}-1", base_dir=place)
        two = fit(project, dataset, tmp_path / f"{method}-2", base_dir=place)
        assert (tmp_path / f"{method}-1" / "model.safetensors").read_bytes() == (
            tmp_path / f"{method}-2" / "model.safetensors"
        ).read_bytes()
        assert one.text == two.text
        inputs = one.processor.encode_batch([{"history": ["space-00", "space-03", "space-05"]}])
        first = dataset.problem.told(one.run(inputs), dataset.labels)["items"][0, :5]
        assert sum(item.startswith("space-") for item in first) >= 4


def test_what_is_left_open_is_chosen_on_the_validation_rows(place: Path, tmp_path: Path) -> None:
    project, dataset = made(place)
    trained = fit(project, dataset, tmp_path / "model", base_dir=place)
    losses = [h["validation_loss"] for h in trained.history]
    assert len(losses) == 7 and trained.best["validation_loss"] == min(losses)
    assert trained.metrics["ndcg_10"] == pytest.approx(1 - min(losses)) and trained.record["method"] in trained.text
    other = parse({"name": "shop", "task": "recommend", "data": {"source": "x"}, "model": {"method": "popularity"}}, base_dir=place)
    with pytest.raises(ProjectError, match="does not build this model"):
        load_trained(other, tmp_path / "model", place)


def test_factors_of_a_history_solve_their_equations() -> None:
    from sluice.learners.recommend.models import Factors

    rng = np.random.default_rng(0)
    items = rng.normal(0, 0.4, (40, 6))
    scorer = Factors.of(items, 0.2, 0.01)
    codes = np.array([[3, 7, 21, 41], [1, 41, 41, 41]])
    held = np.zeros((2, 40), np.float32)
    held[0, [3, 7, 21]] = held[1, 1] = 1
    for row, taken in enumerate(([3, 7, 21], [1])):
        own = items[taken]
        system = 0.2 * items.T @ items + own.T @ own + 0.01 * (len(taken) + 0.2 * 40) * np.eye(6)
        exact = items @ np.linalg.solve(system, own.sum(axis=0))
        assert scorer.scores(codes, held)[row] == pytest.approx(exact, abs=1e-4)


def test_a_history_is_read_as_a_list_of_names_the_newest_last() -> None:
    spec = {"kind": "tabular", "columns": [{"name": "history", "type": "history", "length": 3, "spelling": "number"}]}
    processor = load_processor(spec, {})
    assert processor.spec() == spec and processor.inputs[0].shape == (-1, 3)
    rows = [{"history": [1, "2", 3.0, 1, 4]}, {"history": None}, {}, {"history": '["7"]'}, {"history": ""}]
    encoded = processor.encode_batch(rows)["history"].tolist()
    assert encoded == [["3", "1", "4"], [""] * 3, [""] * 3, ["7", "", ""], [""] * 3]
    for bad in ("1, 2", 5, [["a"]], [None, {}]):
        with pytest.raises(InputError, match="is no") as e:
            processor.encode_batch([{"history": bad}])
        assert e.value.field and e.value.field.startswith("rows[0].history") and e.value.fix


def test_transitions_tell_what_follows_on_what() -> None:
    from scipy import sparse

    from sluice.learners.recommend.models import Transitions

    before, after = np.zeros((60, 12)), np.zeros((60, 12))
    for row in range(60):  # who took an item takes the one behind it; who took nothing starts anywhere but at the last two
        at = row % 12
        after[row, (at + 1) % 12 if row < 48 else row % 10] = 1
        if row < 48:
            before[row, at] = 1
    scorer = Transitions.fit(sparse.csr_matrix(before), sparse.csr_matrix(after), 0.1)
    held = np.eye(12, dtype=np.float32)
    assert scorer.scores(np.zeros((12, 1), np.int64), held).argmax(axis=1).tolist() == [(i + 1) % 12 for i in range(12)]
    new = scorer.scores(np.zeros((1, 1), np.int64), np.zeros((1, 12), np.float32))[0]
    assert new[:10].min() > new[10:].max()


def test_two_towers_learn_by_the_torch_loop_with_a_users_columns(tmp_path: Path) -> None:
    from tests.tools.interactions import interactions

    rows = [f"{u},{i},{t},{20 + int(u[1:]) % 40},{'ab'[int(u[1:]) % 2]}" for u, i, t in interactions(users=60, items=40)]
    rows[5] = rows[5].rpartition(",")[0].rpartition(",")[0] + ",,"
    (tmp_path / "visits.csv").write_text("user,item,time,age,segment\n" + "\n".join(rows) + "\n")
    model = {"method": "two_tower", "features": ["age", "segment"], "dimensions": 16}
    raw = {
        "name": "shop",
        "task": "recommend",
        "data": {"source": "visits.csv"},
        "model": model,
        "train": {"epochs": 15, "learning_rate": 0.01},
    }
    project = parse(raw, base_dir=tmp_path)
    dataset = prepare(project, tmp_path, load_task(project, tmp_path), tmp_path / "data")
    trained = fit(project, dataset, tmp_path / "model", base_dir=tmp_path)
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    table = dataset.read("test", ["history", "age", "segment"])
    raws = [*table.to_pylist(), {"history": []}, {"history": ["what"], "age": None, "segment": "c"}]
    inputs = trained.processor.encode_batch(raws)
    graph = trained.graph(20)
    onnx.checker.check_model(graph, full_check=True)
    ranking, unknown = ort.InferenceSession(graph.SerializeToString()).run(None, inputs)
    assert dataset.problem.apart(ranking, trained.run(inputs)) < 1e-4 and unknown[-1] == 1
    names = dataset.problem.told(ranking, dataset.labels)["items"].tolist()
    assert all(not set(found) & set(row["history"] or ()) for found, row in zip(names, raws, strict=True))
    assert names[-2] != names[-1]  # a new user is told by the columns
