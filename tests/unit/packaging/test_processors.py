"""What goes in comes out as the graph's tensors, or as an `InputError` that names the row and the column."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields import Column, ImageProcessor, TabularProcessor, TensorInput, TensorProcessor, TextProcessor, load_processor
from sluice.fields.text import LIMIT_CHARACTERS, Text

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", "far", "away"]


def tokenizer(special: bool = True) -> bytes:
    t = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t.to_str().encode()


TEXT = TextProcessor(tokenizer(), max_length=8)
TABLE = TabularProcessor([Column("age", "numeric"), Column("job", "categorical")])


# -- text


def test_text_gives_ids_and_mask_padded_to_the_longest_of_the_batch():
    examples = TEXT.encode(["The cat sat", "mat"])
    assert [TEXT.length(e) for e in examples] == [5, 3]
    batch = TEXT.batch(examples)
    assert batch["input_ids"].tolist() == [[2, 4, 5, 6, 3], [2, 9, 3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert all(a.dtype == np.int64 for a in batch.values())


def test_text_is_cut_at_max_length_with_its_special_tokens_kept():
    (e,) = TEXT.encode(["cat " * 50])
    assert e["input_ids"].tolist() == [2, *[5] * 6, 3]


def test_text_ignores_the_padding_and_truncation_stored_in_the_tokenizer():
    t = Tokenizer.from_buffer(tokenizer())
    t.enable_padding(length=20)
    t.enable_truncation(4)
    (e,) = TextProcessor(t.to_str().encode(), max_length=8).encode(["the cat sat on a"])
    assert TEXT.length(e) == 7


def test_text_pads_with_the_pad_id():
    p = TextProcessor(tokenizer(), max_length=8, pad_id=9)
    assert p.batch(p.encode(["a", "the cat"]))["input_ids"][0].tolist() == [2, 8, 3, 9]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (None, "not a text"),
        (3, "not a text"),
        (b"bytes", "not a text"),
        (["a"], "not a text"),
        ({"text": "a"}, "not a text"),
        (float("nan"), "not a text"),
        ("\ud800", "not valid Unicode"),
        ("a\udfffb", "not valid Unicode"),
    ],
)
def test_text_names_the_row_that_is_no_text(bad, says):
    with pytest.raises(InputError, match=says) as e:
        TEXT.encode(["fine", "fine too", bad])
    assert e.value.field == "rows[2]"
    assert e.value.fix


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u3000\u2028", "\x1c"])
def test_a_blank_text_is_refused_as_training_leaves_it_out(blank):
    assert Text("x").missing(pa.chunked_array([[blank]])).to_pylist() == [True]
    for processor in (TEXT, TextProcessor(tokenizer(special=False), max_length=8)):
        with pytest.raises(InputError, match="is blank") as e:
            processor.encode(["cat", blank])
        assert e.value.field == "rows[1]"


def test_text_refuses_what_is_too_long():
    with pytest.raises(InputError, match="characters"):
        TEXT.encode(["a" * (LIMIT_CHARACTERS + 1)])


def test_text_takes_any_sequence_and_subclass_of_str():
    assert len(TEXT.encode(("a", np.str_("cat")))) == 2
    assert TEXT.encode([]) == []


@QUICK
@given(st.lists(st.text(max_size=40).filter(str.strip), min_size=1, max_size=8))
def test_text_examples_do_not_depend_on_their_neighbours(texts):
    together = TEXT.encode(texts)
    for text, e in zip(texts, together, strict=True):
        assert e["input_ids"].tolist() == TEXT.encode([text])[0]["input_ids"].tolist()
        assert 2 <= TEXT.length(e) <= 8


@QUICK
@given(st.lists(st.one_of(st.text(alphabet=st.characters(), max_size=20), st.none(), st.integers(), st.binary(max_size=5)), max_size=5))
def test_text_only_ever_raises_input_errors(rows):
    try:
        assert len(TEXT.encode(rows)) == len(rows)
    except InputError as e:
        assert e.field.startswith("rows[")


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff\xfe", b"[1, 2]", b'{"version": "1.0"}'])
def test_text_refuses_a_broken_tokenizer(raw):
    with pytest.raises(PackageError, match=r"tokenizer\.json"):
        TextProcessor(raw, max_length=8)


# -- images


# -- tabular


def test_tabular_gives_a_column_a_tensor_and_the_missing_as_nan_and_empty():
    batch = TABLE.encode_batch([{"age": 3, "job": "cook"}, {"age": None, "job": None}, {}, {"age": math.nan, "job": ""}, {"age": True}])
    assert batch["age"].dtype == np.float32
    assert batch["age"].shape == (5, 1)
    assert np.array_equal(batch["age"][:, 0], [3, np.nan, np.nan, np.nan, 1], equal_nan=True)
    assert batch["job"].tolist() == [["cook"], [""], [""], [""], [""]]
    assert TABLE.inputs == (TensorSpec("age", "FP32", (-1, 1)), TensorSpec("job", "BYTES", (-1, 1)))


def test_tabular_writes_whole_numbers_and_booleans_as_arrow_does():
    pa = pytest.importorskip("pyarrow")
    for value in (3, True, 3.0, -7, np.int64(5), np.bool_(False)):
        wanted = pa.array([value]).cast(pa.string()).to_pylist()[0]
        assert TABLE.encode_batch([{"job": value}])["job"].tolist() == [[wanted]]


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"age": "3"}, "rows[1].age", "not a number"),
        ({"age": [3]}, "rows[1].age", "not a number"),
        ({"age": 1e39}, "rows[1].age", "finite"),
        ({"age": math.inf}, "rows[1].age", "finite"),
        ({"age": 10**400}, "rows[1].age", "finite"),
        ({"age": 1j}, "rows[1].age", "not a number"),
        ({"job": 2.5}, "rows[1].job", "not a category"),
        ({"job": ["a"]}, "rows[1].job", "not a category"),
        ({"job": b"a"}, "rows[1].job", "not a category"),
        ({"job": "\ud800"}, "rows[1].job", "Unicode"),
        ({"aeg": 3}, "rows[1].aeg", "not a column"),
        ([3, "cook"], "rows[1]", "not a row"),
        (None, "rows[1]", "not a row"),
        ("age", "rows[1]", "not a row"),
    ],
)
def test_tabular_names_the_row_and_the_column(row, field, says):
    with pytest.raises(InputError, match=says) as e:
        TABLE.encode([{"age": 1, "job": "cook"}, row])
    assert e.value.field == field
    assert e.value.fix


def test_tabular_names_the_nearest_column():
    with pytest.raises(InputError) as e:
        TABLE.encode([{"agee": 3}])
    assert "'age'" in e.value.fix


CELL = st.one_of(st.none(), st.floats(), st.integers(), st.booleans(), st.text(max_size=4))


@QUICK
@given(st.lists(st.dictionaries(st.sampled_from(["age", "job"]), CELL), min_size=1, max_size=6))
def test_tabular_by_column_equals_row_by_row(rows):
    def one_by_one() -> list[dict[str, list]]:
        return [{k: v.tolist() for k, v in TABLE.encode([r])[0].items()} for r in rows]

    try:
        together = [{k: v.tolist() for k, v in e.items()} for e in TABLE.encode(rows)]
    except InputError as e:
        i = int(e.field[5 : e.field.index("]")])
        with pytest.raises(InputError):
            TABLE.encode([rows[i]])
    else:
        assert str(together) == str(one_by_one())  # as text: NaN equals NaN
        whole = TABLE.encode_batch(rows)
        assert all(np.array_equal(whole[n], TABLE.batch(TABLE.encode(rows))[n], equal_nan=n == "age") for n in whole)


# -- tensors


def test_tensor_rows_are_arrays_of_the_declared_type():
    p = TensorProcessor([TensorInput("x", "FP32", (-1, 2)), TensorInput("n", "INT32", (-1,))])
    batch = p.batch(p.encode([{"x": [1, 2.5], "n": 3}, {"x": np.zeros(2), "n": -1}]))
    assert batch["x"].tolist() == [[1, 2.5], [0, 0]]
    assert batch["n"].tolist() == [3, -1]
    assert (batch["x"].dtype, batch["n"].dtype) == (np.float32, np.int32)


def test_tensor_with_one_input_takes_the_bare_value_and_pads_free_axes():
    p = TensorProcessor([TensorInput("x", "INT64", (-1, -1), pad=9)])
    examples = p.encode([[1, 2, 3], [4]])
    assert [p.length(e) for e in examples] == [3, 1]
    assert p.batch(examples)["x"].tolist() == [[1, 2, 3], [4, 9, 9]]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"])
def test_tensor_of_each_datatype_passes_through(datatype):
    value = {"BOOL": [True, False], "BYTES": ["a", "é"]}.get(datatype, [0, 7])
    p = TensorProcessor([TensorInput("x", datatype, (-1, 2))])
    assert p.batch(p.encode([value]))["x"].tolist() == [value]


@pytest.mark.parametrize(
    ("datatype", "bad", "says"),
    [
        ("FP32", [1, [2]], "rectangular"),
        ("FP32", [1, 2, 3], "shape"),
        ("FP32", "ab", "shape"),
        ("FP32", [1, "b"], "does not hold"),
        ("FP32", [1, None], "does not hold"),
        ("FP32", [1, 1e39], "does not fit"),
        ("FP16", [1, 7e4], "does not fit"),
        ("UINT8", [1, 256], "does not fit"),
        ("UINT8", [1, -1], "does not fit"),
        ("INT32", [1, 2**31], "does not fit"),
        ("INT64", [1, 2**70], "does not hold"),
        ("INT64", [1, 2.0], "does not hold"),
        ("BOOL", [0, 1], "does not hold"),
        ("BYTES", ["a", 1], "texts"),
        ("BYTES", ["a", "\ud800"], "Unicode"),
        ("FP32", [], "shape"),
    ],
)
def test_tensor_names_the_row_and_the_input(datatype, bad, says):
    with pytest.raises(InputError, match=says) as e:
        TensorProcessor([TensorInput("x", datatype, (-1, 2))]).encode([{"x": bad}])
    assert e.value.field == "rows[0].x"


def test_tensor_names_inputs_that_are_missing_or_unknown():
    p = TensorProcessor([TensorInput("x", "FP32", (-1, 2)), TensorInput("y", "FP32", (-1, 2))])
    for row, field in (({"x": [1, 2]}, "rows[0].y"), ({"x": [1, 2], "y": [1, 2], "z": 1}, "rows[0].z"), ([1, 2], "rows[0]")):
        with pytest.raises(InputError) as e:
            p.encode([row])
        assert e.value.field == field


# -- specifications


@pytest.mark.parametrize(
    "p",
    [
        TEXT,
        TABLE,
        ImageProcessor(3, [4, 6]),
        TensorProcessor([TensorInput("x", "FP32", (-1, -1), pad=0.5), TensorInput("s", "BYTES", (-1,))]),
    ],
    ids=lambda p: p.kind,
)
def test_a_processor_is_rebuilt_from_its_specification_and_files(p, tmp_path):
    for name, data in p.files().items():
        (tmp_path / name).write_bytes(data)
    for root in (tmp_path, p.files()):
        again = load_processor(p.spec(), root)
        assert (again.kind, again.inputs, again.spec(), again.files()) == (p.kind, p.inputs, p.spec(), p.files())


GOOD = [
    {"kind": "text", "tokenizer": "tokenizer.json", "max_length": 32, "pad_id": 0},
    {"kind": "image", "channels": 1, "size": [8, 8]},
    {"kind": "tabular", "columns": [{"name": "age", "type": "numeric"}, {"name": "job", "type": "categorical"}]},
    {"kind": "tensor", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]},
]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (None, "preprocess"),
        ({}, "preprocess.kind"),
        ({"kind": "video"}, "preprocess.kind"),
        ({"kind": ["text"]}, "preprocess.kind"),
        (GOOD[0] | {"tokenizer": "../tokenizer.json"}, "preprocess.tokenizer"),
        (GOOD[0] | {"tokenizer": "/etc/passwd"}, "preprocess.tokenizer"),
        (GOOD[0] | {"tokenizer": ".."}, "preprocess.tokenizer"),
        (GOOD[0] | {"tokenizer": "other.json"}, "preprocess: other.json"),
        (GOOD[0] | {"max_length": 0}, "preprocess.max_length"),
        (GOOD[0] | {"max_length": 10**9}, "preprocess.max_length"),
        (GOOD[0] | {"max_length": "8"}, "preprocess.max_length"),
        (GOOD[0] | {"max_length": True}, "preprocess.max_length"),
        (GOOD[0] | {"pad_id": -1}, "preprocess.pad_id"),
        (GOOD[0] | {"lower": True}, "preprocess.lower"),
        (GOOD[1] | {"channels": 4}, "preprocess.channels"),
        (GOOD[1] | {"size": [8]}, "preprocess.size"),
        (GOOD[1] | {"size": [8, 0]}, "preprocess.size"),
        (GOOD[1] | {"size": [8, 10**6]}, "preprocess.size"),
        (GOOD[1] | {"size": "88"}, "preprocess.size"),
        (GOOD[2] | {"columns": []}, "preprocess.columns"),
        (GOOD[2] | {"columns": ["age"]}, "preprocess.columns[0]"),
        (GOOD[2] | {"columns": [{"name": "a", "type": "date"}]}, "preprocess.columns[0].type"),
        (GOOD[2] | {"columns": [{"name": "a", "type": "numeric"}] * 2}, "preprocess.columns[1].name"),
        (GOOD[2] | {"columns": [{"name": "a"}]}, "preprocess.columns[0].type"),
        (GOOD[3] | {"inputs": []}, "preprocess.inputs"),
        (GOOD[3] | {"inputs": [{"name": "x", "datatype": "FP8", "shape": [-1]}]}, "preprocess.inputs[0].datatype"),
        (GOOD[3] | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]}, "preprocess.inputs[0].shape"),
        (GOOD[3] | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}]}, "preprocess.inputs[0].shape"),
        (GOOD[3] | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1.5]}]}, "preprocess.inputs[0].shape"),
        (GOOD[3] | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1 << 40]}]}, "preprocess.inputs[0].shape"),
    ],
)
def test_a_bad_specification_is_refused_by_name(spec, field):
    with pytest.raises(PackageError) as e:
        load_processor(spec, {"tokenizer.json": tokenizer()})
    assert e.value.field == field


def test_loading_processors_imports_neither_torch_nor_pandas_nor_pyarrow():
    code = (
        "import sys; import sluice.fields; "
        "print(sorted({'torch','transformers','pandas','pyarrow','pydantic','PIL','tokenizers','onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
