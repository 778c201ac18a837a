"""A package is exactly what was sealed, or a `PackageError`."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.core import files
from sluice.core.datatypes import EngineSpec, TensorSpec
from sluice.core.errors import PackageError
from sluice.package import package
from sluice.package.package import MANIFEST, Package, Store, read
from sluice.problems.decision import Rule, codes

PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def one(sealed) -> Package:
    """One package for all examples of a property, which leave it as they found it."""
    return sealed("text")


def files_of(p: Package) -> list[Path]:
    return sorted(f for f in p.root.rglob("*") if f.is_file())


def test_a_sealed_package_reads_back_whole(sealed):
    p = sealed("text")
    again = read(p.root, p.digest)
    assert again == p
    assert read(p.root, "sha256:" + p.digest).digest == p.digest
    assert again.labels == ("good", "bad")
    assert again.outputs == (TensorSpec("probabilities", "FP32", (-1, 2)),)
    assert again.model.is_file()
    assert again.profile() is None


def test_equal_contents_have_equal_digests_wherever_they_lie(sealed, tmp_path):
    p = sealed("tabular")
    copy = tmp_path / "else" / "where"
    shutil.copytree(p.root, copy)
    assert read(copy).digest == sealed("tabular").digest == p.digest
    assert sealed("tabular", metrics={"value": 0.91}).digest != p.digest


@PROPERTY
@given(data=st.data())
def test_any_byte_of_any_file_changed_is_found(one, data):
    p = one
    path = data.draw(st.sampled_from(files_of(p)))
    whole = path.read_bytes()
    at, value = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ value]) + whole[at + 1 :])
    try:
        with pytest.raises(PackageError):
            read(p.root, p.digest)
    finally:
        path.write_bytes(whole)
    assert read(p.root, p.digest) == p


@PROPERTY
@given(data=st.data())
def test_any_file_cut_or_grown_is_found(one, data):
    p = one
    path = data.draw(st.sampled_from(files_of(p)))
    whole = path.read_bytes()
    changed = data.draw(
        st.one_of(st.integers(0, len(whole) - 1).map(lambda n: whole[:n]), st.binary(min_size=1, max_size=8).map(lambda b: whole + b))
    )
    path.write_bytes(changed)
    try:
        with pytest.raises(PackageError):
            read(p.root, p.digest)
    finally:
        path.write_bytes(whole)


@PROPERTY
@given(data=st.data())
def test_a_manifest_that_says_anything_else_is_a_package_error_or_another_package(one, data):
    p = one
    m = orjson.loads((p.root / MANIFEST).read_bytes())
    key = data.draw(st.sampled_from(sorted(m)))
    leaf = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
    m[key] = data.draw(
        leaf
        | st.lists(leaf, max_size=3)
        | st.dictionaries(st.text(max_size=4), leaf | st.dictionaries(st.text(max_size=6), leaf), max_size=3)
    )
    root = p.root.with_name("altered")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(p.root, root)
    (root / MANIFEST).write_bytes(orjson.dumps(m))
    with pytest.raises(PackageError):
        read(root, p.digest)
    try:
        assert read(root).digest != p.digest
    except PackageError as e:
        assert e.field


def test_files_missing_or_unlisted_are_found_and_named(sealed):
    p = sealed("text")
    (p.root / "tokenizer.json").rename(p.root.parent / "kept")
    with pytest.raises(PackageError, match="not there") as e:
        read(p.root)
    assert e.value.field.endswith("tokenizer.json")
    (p.root.parent / "kept").rename(p.root / "tokenizer.json")
    (p.root / "sub").mkdir()
    (p.root / "sub" / "extra.py").write_text("import os")
    with pytest.raises(PackageError, match="does not list") as e:
        read(p.root)
    assert e.value.value == ["sub/extra.py"]


@pytest.mark.parametrize("target", ["file", "directory", "nowhere", "listed"])
def test_links_inside_a_package_are_refused(sealed, tmp_path, target):
    p = sealed("text")
    if target == "listed":
        (p.root / "tokenizer.json").rename(tmp_path / "tokenizer.json")
        (p.root / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    else:
        (p.root / "link").symlink_to({"file": tmp_path / "f", "directory": tmp_path, "nowhere": tmp_path / "none"}[target])
    with pytest.raises(PackageError, match="link"):
        read(p.root)
    with pytest.raises(PackageError, match="link"):
        package.write(
            p.root,
            **{k: getattr(p, k) for k in ("name", "task", "objective", "preprocess", "precision", "metrics", "provenance")},
            inputs=list(p.inputs),
            outputs=list(p.outputs),
            labels=list(p.labels),
        )


def test_a_link_to_a_package_is_fine(sealed, tmp_path):
    p = sealed("text")
    (tmp_path / "models").symlink_to(p.root)
    assert read(tmp_path / "models").digest == p.digest


def test_a_pipe_inside_a_package_is_refused_without_being_opened(sealed):
    p = sealed("text")
    os.mkfifo(p.root / "pipe")
    with pytest.raises(PackageError, match="no regular file"):
        read(p.root)


def rewrite(p: Package, **changes: object) -> Path:
    (p.root / MANIFEST).write_bytes(files.pretty_json({**p.manifest, **changes}))
    return p.root


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": "sluice.package/v3"}, "format"),
        ({"format": "sluice.package/v1"}, "no key of this format"),
        ({"problem": "clasification"}, "problem"),
        ({"problem": None}, "problem"),
        ({"fields": ["text"]}, "fields"),
        ({"fields": {"text": "txt"}}, "fields.text"),
        ({"fields": {"text": 1}}, "fields.text"),
        ({"engine": "onnxruntime"}, "engine"),
        ({"engine": {"name": "onnxruntime"}}, "engine"),
        ({"engine": {"name": "", "options": {}}}, "engine"),
        ({"engine": {"name": "onnxruntime", "options": []}}, "engine"),
        ({"objective": "my_module:Ranks"}, "objective"),
        ({"surprise": 1}, "surprise"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"task": None}, "task"),
        ({"objective": "rankings"}, "objective"),
        ({"labels": ["a", "a"]}, "labels"),
        ({"labels": "ab"}, "labels"),
        ({"labels": ["a", 1]}, "labels"),
        ({"labels": ["a"]}, "outputs"),
        ({"labels": []}, "outputs"),
        ({"objective": "regression"}, "outputs"),
        ({"preprocess": []}, "preprocess"),
        ({"metrics": None}, "metrics"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"name": "x"}]}, "inputs[0]"),
        ({"inputs": [{"name": "x", "datatype": "FP8", "shape": [-1]}]}, "inputs[0].datatype"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}]}, "inputs[0].shape"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 0]}]}, "inputs[0].shape"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, True]}]}, "inputs[0].shape"),
        ({"inputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1]}]}, "inputs, outputs"),
        ({"files": {}}, "files"),
        ({"files": []}, "files"),
    ],
)
def test_a_manifest_out_of_form_is_refused_by_the_key_at_fault(sealed, changes, field):
    with pytest.raises(PackageError) as e:
        read(rewrite(sealed("text"), **changes))
    assert field in e.value.field or field in e.value.message


def test_a_package_names_its_problem_its_fields_and_its_engine(sealed):
    p = sealed("tabular")
    assert (p.problem, p.fields, p.engine) == ("regression", {"age": "numeric", "job": "categorical"}, EngineSpec("onnxruntime"))
    assert {k: p.manifest[k] for k in ("format", "problem", "engine")} == {
        "format": "sluice.package/v2",
        "problem": "regression",
        "engine": {"name": "onnxruntime", "options": {}},
    }
    assert sealed("text").fields == {"text": "text"}


def test_a_problem_and_a_field_of_the_users_own_are_words_that_reading_does_not_import(sealed):
    p = sealed("tabular", problem="nowhere_at_all:Rents", fields={"age": "nowhere_at_all:Age", "job": "trade"})
    assert p.problem == "nowhere_at_all:Rents"
    assert p.fields == {"age": "nowhere_at_all:Age", "job": "other"}  # a word that only the task knew


def test_an_unknown_name_is_answered_with_the_nearest(sealed):
    with pytest.raises(PackageError) as e:
        read(rewrite(sealed("text"), problem="clasification"))
    assert "did you mean 'classification'?" in e.value.fix and e.value.value == "clasification"
    with pytest.raises(PackageError, match="field") as e:
        read(rewrite(sealed("tabular"), fields={"age": "numerical"}))
    assert "did you mean 'numeric'?" in e.value.fix


def test_a_decision_is_part_of_the_package_and_of_its_digest(sealed):
    p = sealed("text")
    assert p.rule is None and "decision" not in p.manifest
    labels = list(p.labels)
    found = read(rewrite(p, decision={"label": labels[1], "threshold": 0.25, "aim": "f1"}))
    assert found.rule == Rule(labels[1], 0.25, "f1")
    assert found.digest != p.digest
    np.testing.assert_array_equal(codes(np.array([[0.8, 0.2], [0.75, 0.25], [0.1, 0.9]], np.float32), labels, found.rule), [0, 1, 1])


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        ({"label": "?", "threshold": 0.5}, "no label"),
        ({"label": 0, "threshold": 0.5}, "no label"),
        ({"threshold": 0.5}, "must have"),
        ([], "must have"),
        ({"threshold": 0.5, "label": "b", "more": 1}, "must have"),
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"threshold": True}, "from 0 to 1"),
        ({"threshold": "0.5"}, "from 0 to 1"),
        ({"threshold": 0.5, "aim": 3}, "text"),
    ],
)
def test_a_decision_out_of_form_is_refused(sealed, decision, says):
    p = sealed("text")
    if isinstance(decision, dict) and "label" not in decision and says != "must have":
        decision = {"label": p.labels[0], **decision}
    with pytest.raises(PackageError, match=says):
        read(rewrite(p, decision=decision))


def test_a_decision_is_for_two_labels(sealed):
    p = sealed("text")
    with pytest.raises(PackageError, match="two labels"):
        read(
            rewrite(
                p,
                labels=["a", "b", "c"],
                outputs=[{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
                decision={"label": "a", "threshold": 0.5},
            )
        )


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "a/../../b", "a//b", "./a", "a/", "..", "model.json", "a\\b", "a\0b"])
def test_a_manifest_may_name_no_file_outside_the_package(sealed, name):
    p = sealed("text")
    entry = {"sha256": "0" * 64, "size": 0}
    with pytest.raises(PackageError, match="outside the package"):
        read(rewrite(p, files={**p.manifest["files"], name: entry}))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"sha256": "0" * 64},
        {"sha256": "zz", "size": 1},
        {"sha256": "0" * 64, "size": -1},
        {"sha256": "0" * 64, "size": True},
        {"sha256": "0" * 64, "size": 5 << 30},
    ],
)
def test_a_files_entry_out_of_form_is_refused(sealed, entry):
    p = sealed("text")
    with pytest.raises(PackageError):
        read(rewrite(p, files={**p.manifest["files"], "extra": entry}))


def test_what_is_no_package_says_what_would_be_one(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(PackageError, match="not a package") as e:
            read(root)
        assert e.value.fix
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(PackageError, match="not JSON"):
        read(tmp_path)


def test_a_manifest_too_large_is_not_read(sealed):
    p = sealed("text")
    with (p.root / MANIFEST).open("r+b") as f:
        f.truncate(9 << 20)
    with pytest.raises(PackageError, match="too large"):
        read(p.root)


# -- the store


def test_a_store_keeps_packages_by_digest(sealed, tmp_path):
    store, a, b = Store(tmp_path / "store"), sealed("text"), sealed("tabular")
    assert store.digests() == []
    kept = store.add(a)
    assert kept.root == tmp_path / "store" / "sha256" / a.digest
    store.add(b)
    assert store.digests() == sorted([a.digest, b.digest])
    assert store.get(f"sha256:{a.digest}").digest == a.digest
    assert store.uri(a.digest).startswith("file:///")
    assert store.add(kept).root == kept.root


def test_a_damaged_package_in_the_store_is_not_given_out_and_is_replaced(sealed, tmp_path):
    store, p = Store(tmp_path / "store"), sealed("text")
    kept = store.add(p)
    (kept.root / "tokenizer.json").write_text("{}")
    with pytest.raises(PackageError):
        store.get(p.digest)
    store.add(p)
    assert store.get(p.digest).digest == p.digest


def test_a_package_that_changed_after_it_was_read_is_not_added(sealed, tmp_path):
    store, p = Store(tmp_path / "store"), sealed("text")
    (p.root / "tokenizer.json").write_text("{}")
    with pytest.raises(PackageError):
        store.add(p)
    assert store.digests() == []
    assert list((tmp_path / "store" / "sha256").iterdir()) == []


def test_a_store_asks_for_digests(tmp_path):
    for bad in ("latest", "", "../../etc", "A" * 64, "0" * 63):
        with pytest.raises(PackageError, match="not a package digest"):
            Store(tmp_path).get(bad)
    with pytest.raises(PackageError, match="not a package"):
        Store(tmp_path).get("0" * 64)


def test_many_may_add_the_same_package_at_once(sealed, tmp_path):
    store, p = Store(tmp_path / "store"), sealed("text")
    failed: list[BaseException] = []

    def add() -> None:
        try:
            store.add(p)
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert failed == []
    assert store.digests() == [p.digest]
    assert [x.name for x in (tmp_path / "store" / "sha256").iterdir()] == [p.digest]
    store.get(p.digest)
