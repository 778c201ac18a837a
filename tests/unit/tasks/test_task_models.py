"""What the built-in tasks fit, and what their models make of it."""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from sluice.core.errors import DataError, ProjectError
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.learners.tables.codes import UNKNOWN, codes
from sluice.learners.torch.images.models import shift
from sluice.learners.torch.texts.encoders import UsedRows

ROWS = pa.table(
    {
        "age": [20.0, None, 40.0, 60.0, 30.0, 50.0],
        "city": ["Ulm", "Bonn", None, "Ulm", "Bonn", "Köln"],
        "member": [True, False, True, None, True, False],
        "label": ["y", "n", "y", "n", "y", "n"],
    }
)


def png(shade: int, size: tuple[int, int] = (6, 5)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, shade).save(out, "PNG")
    return out.getvalue()


def outputs(network, state, table):
    torch.manual_seed(0)
    model = network.serving_module(network.build(state), state)
    with torch.no_grad():
        return model(**network.tensors(tensors_from_arrow(state.processor, table), state))


def test_tabular_columns_get_their_kinds_and_missing_values_survive(make_network):
    network, dataset = make_network("tabular", ROWS)
    assert dataset.columns == {"age": "numeric", "city": "categorical", "member": "numeric"}
    state = network.fit(dataset)
    assert state.extra["numeric"]["age"] == {
        "mean": 40.0,
        "std": pytest.approx(200**0.5),
        "missing": 1,
        "low": 20.0,
        "high": 60.0,
        "edges": [20.0, 30.0, 40.0, 50.0, 60.0],
    }
    assert state.extra["categories"] == {"city": ["Bonn", "Ulm", "Köln"]}
    found = outputs(network, state, dataset.read("train"))
    assert found.shape == (6, 2)
    assert torch.allclose(found.sum(1), torch.ones(6))


def test_a_state_read_back_wires_the_same_network_as_a_fresh_one(make_network, tmp_path):
    table = pa.table(
        {
            "zinc": [1.0, 2.0, 3.0, 4.0],
            "ash": [9.0, 7.0, 5.0, 1.0],
            "town": ["Ulm", "Bonn", "Ulm", "Bonn"],
            "class": ["a", "b", "c", "a"],
            "label": ["y", "n", "y", "n"],
        }
    )
    network, dataset = make_network("tabular", table)
    fresh = network.fit(dataset)
    assert list(fresh.extra["numeric"]) == ["zinc", "ash"]
    (tmp_path / "state").mkdir()
    fresh.save(tmp_path / "state")
    again = type(fresh).load(tmp_path / "state")
    assert torch.equal(outputs(network, fresh, dataset.read("train")), outputs(network, again, dataset.read("train")))


def test_numbers_written_as_text_are_numbers_unless_the_project_says_otherwise(make):
    table = pa.table({"zip": ["10115", "89073", "53111"], "label": ["a", "b", "a"]})
    assert make("tabular", table)[1].columns == {"zip": "numeric"}


def test_a_listed_category_stays_one_though_it_looks_numeric(make_network):
    table = pa.table({"zip": [10115, 89073, 53111], "label": ["a", "b", "a"]})
    network, dataset = make_network("tabular", table, data={"columns": {"categorical": ["zip"]}})
    assert dataset.columns == {"zip": "categorical"}
    assert network.fit(dataset).extra["categories"] == {"zip": ["10115", "53111", "89073"]}


def test_text_in_a_numeric_column_is_refused(make):
    table = pa.table({"n": [str(i) for i in range(19)] + ["many"], "label": ["a", "b"] * 10})
    with pytest.raises(DataError, match=r"column n, row 20: is not a number \(got 'many'\)"):
        make("tabular", table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"features": ["age", "label"]}, "is the label and a feature"),
        ({"features": ["hight"]}, "no such column"),
        ({"label": "city"}, "is a name the dataset keeps for itself"),
        ({"ignore": ["age", "city", "member"]}, "leaves no feature"),
    ],
)
def test_tabular_columns_that_cannot_be_are_refused(make, columns, message):
    with pytest.raises(DataError, match=message):
        make("tabular", ROWS, data={"columns": columns})


def test_the_name_of_the_groups_column_is_refused_by_the_checks(make):
    with pytest.raises(DataError, match=r"is a name the dataset keeps for itself \(got '__group'\)"):
        make("tabular", pa.table({"__group": [1, 2, 3], "label": ["a", "b", "a"]}))


def test_a_regression_label_is_standardised_for_the_loss_and_given_back_in_its_unit(make_network):
    table = pa.table({"x": [0.0, 1.0, 2.0, 3.0], "label": [100.5, 200.0, 300.0, 400.25]})
    network, dataset = make_network("tabular", table)
    assert dataset.objective == "regression"
    state = network.fit(dataset)
    values = dataset.read("train").column("label").to_numpy()
    targets = network.targets(values, state)
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    scale = state.extra["target"]

    class Exact(torch.nn.Module):
        def forward(self, x):
            return targets

    served = network.serving_module(Exact(), state)(x=torch.zeros(4, 1))
    np.testing.assert_allclose(served.numpy(), values, rtol=1e-6)
    assert scale["std"] > 100


def test_the_finished_graph_takes_strings_and_gives_the_codes_the_model_was_trained_with(make_network):
    network, dataset = make_network("tabular", ROWS)
    state = network.fit(dataset)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["city"], ["out"])],
        "g",
        [helper.make_tensor_value_info("city", TensorProto.INT64, [None, 1])],
        [helper.make_tensor_value_info("out", TensorProto.INT64, [None, 1])],
    )
    done = network.finish_graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), state)
    onnx.checker.check_model(done)
    values = np.array([["Ulm"], [""], ["Atlantis"], ["Köln"]], dtype=object)
    found = ort.InferenceSession(done.SerializeToString()).run(None, {"city": values})[0]
    np.testing.assert_array_equal(found, network.tensors({"city": values}, state)["city"].numpy())
    assert found[2, 0] == UNKNOWN


def test_codes_keep_the_missing_and_the_unknown_apart():
    assert codes(["b", "a"]) == {"": 0, "b": 2, "a": 3}


def test_absurd_numbers_are_cut_off_and_stay_finite(make_network):
    network, dataset = make_network("tabular", ROWS)
    state = network.fit(dataset)
    extreme = pa.table({"age": [3e38, None], "city": ["", ""], "member": [1.0, 0.0]})
    assert torch.isfinite(outputs(network, state, extreme)).all()


def test_image_means_come_from_the_training_pixels_and_the_graph_takes_raw_ones(make_network):
    table = pa.table({"image": [png(0), png(255), png(51)], "label": ["a", "b", "a"]})
    network, dataset = make_network("image", table, {"channels": 1, "size": [5, 6]})
    state = network.fit(dataset)
    assert state.extra["mean"] == [pytest.approx(0.4, abs=1e-6)]
    batch = state.processor.encode_batch([png(51)])
    assert batch["image"].dtype == np.uint8
    model = network.build(state)
    assert model.scale.item() * 51 + model.shift.item() == pytest.approx((0.2 - 0.4) / state.extra["std"][0], abs=1e-5)
    assert outputs(network, state, table.drop(["label"])).shape == (3, 2)


@pytest.mark.parametrize("size", [[4, 4], [8, 8], [28, 28], [33, 17], [64, 96]])
def test_the_small_cnn_takes_any_size(make_network, size):
    table = pa.table({"image": [png(0), png(255)], "label": ["a", "b"]})
    network, dataset = make_network("image", table, {"channels": 3, "size": size, "width": 8})
    assert outputs(network, network.fit(dataset), table.drop(["label"])).shape == (2, 2)


def test_a_resnet_takes_grey_images(make_network):
    table = pa.table({"image": [png(0), png(255)], "label": ["a", "b"]})
    network, dataset = make_network("image", table, {"architecture": "resnet18", "channels": 1, "size": [32, 32]})
    assert outputs(network, network.fit(dataset), table.drop(["label"])).shape == (2, 2)


def test_pretrained_image_weights_of_another_architecture_are_refused(make_network, tmp_path):
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    table = pa.table({"image": [png(0), png(255)], "label": ["a", "b"]})
    network, dataset = make_network("image", table, {"channels": 1, "size": [5, 6], "pretrained": str(tmp_path / "w.safetensors")})
    state = network.fit(dataset)
    with pytest.raises(ProjectError, match=r"lacks .* tensors of the architecture"):
        network.start(network.build(state), state)


def test_a_shift_moves_whole_images_by_at_most_an_eighth():
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).repeat(50, 1, 1, 1)
    moved = shift(image, torch.Generator().manual_seed(1))
    assert moved.shape == image.shape
    assert moved.dtype == image.dtype
    again = shift(image, torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)
    centre = moved[:, 0, 3, 3].int() - 27
    assert set(centre.tolist()) == {dy * 8 + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)}


TEXTS = pa.table(
    {"text": ["turn the light on", "turn it off now", "what is the time", "tell me the hour please"], "label": ["l", "l", "t", "t"]}
)


def test_a_text_model_from_scratch_does_not_mind_padding(make_network):
    network, dataset = make_network("text", TEXTS, {"hidden": 16, "heads": 2, "layers": 1, "vocabulary": 100, "max_length": 16})
    state = network.fit(dataset)
    processor = state.processor
    model = network.serving_module(network.build(state), state)
    rows = rows_from_arrow("text", dataset.read("train"))
    with torch.no_grad():
        together = model(**network.tensors(processor.encode_batch(rows), state))
        apart = torch.cat([model(**network.tensors(processor.encode_batch([r]), state)) for r in rows])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_a_text_column_that_is_none_is_refused(make):
    with pytest.raises(DataError, match="not of texts"):
        make("text", pa.table({"text": [1, 2], "label": ["a", "b"]}))


@pytest.mark.parametrize(("name", "message"), [("./nowhere", "is no directory"), ("{tmp}", "config.json cannot be used")])
def test_a_pretrained_model_that_is_not_there_is_explained(make_network, tmp_path, name, message):
    network, dataset = make_network("text", TEXTS, {"pretrained": name.format(tmp=tmp_path)})
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ProjectError, match=message):
        network.fit(dataset)


def test_only_the_rows_in_use_are_trained_and_the_state_is_the_whole_matrix():
    torch.manual_seed(0)
    whole = torch.nn.Embedding(10, 4, padding_idx=0)
    used = UsedRows(whole, torch.tensor([0, 3, 7]))
    tokens = torch.tensor([[3, 7, 0]])
    torch.testing.assert_close(used(tokens), whole(tokens))
    used(tokens).sum().backward()
    assert used.rows.grad.shape == (3, 4)
    assert used.rows.grad[0].abs().sum() == 0
    with torch.no_grad():
        used.rows[1] += 1
    state = used.state_dict()
    assert list(state) == ["weight"]
    torch.testing.assert_close(state["weight"][3], whole.weight[3] + 1)
    torch.testing.assert_close(state["weight"][5], whole.weight[5])
    torch.testing.assert_close(used.eval()(torch.tensor([3, 5])), state["weight"][[3, 5]])
    other = UsedRows(torch.nn.Embedding(10, 4), torch.tensor([3, 7]))
    other.load_state_dict(state)
    torch.testing.assert_close(other.state_dict()["weight"], state["weight"])
