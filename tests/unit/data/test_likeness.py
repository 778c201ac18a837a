"""Texts alike but for their case, and rows that answer for each other, deserve a word; what is merely similar does not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sluice.data.checks import validate
from sluice.data.config import Checks, Split


def lines(table, name, *, test=None, kinds=None, split=None, secret=(), keys=None):
    report = validate(
        table,
        test,
        kinds=kinds or {"text": "text"},
        objective="classification",
        checks=Checks(rows_min=1, leakage_max=1.0),
        split=split or Split(),
        secret=secret,
        keys=keys,
    )
    return [c for c in report.checks if c.name == name]


def texts(n=200):
    return [f"the parcel number {i} arrived" for i in range(n)], [("yes", "no")[i % 2] for i in range(n)]


def test_texts_that_differ_in_case_alone_with_two_labels_are_named():
    text, label = texts(400)
    text[150], label[150] = "The parcel, number 3 -- ARRIVED!", "yes"
    (found,) = lines(pa.table({"text": text, "label": label}), "alike")
    assert found.status == "warn" and found.value == 2
    assert found.examples == ("row 4: 'the parcel number 3 arrived' (no)", "row 151: 'The parcel, number 3 -- ARRIVED!' (yes)")
    (found,) = lines(pa.table({"text": text, "label": label}), "alike", secret=["text"])
    assert found.examples == ("row 4 (no)", "row 151 (yes)")


def test_many_such_texts_may_stand_on_both_sides():
    text, label = texts()
    table = pa.table({"text": [*text, *(t.upper() for t in text[:10])], "label": label + label[:10]})
    (found,) = lines(table, "alike")
    assert "20 texts (9.52 %) differ from another in case" in found.message
    assert not lines(table, "alike", split=Split(by="group", column="who"), keys=pa.chunked_array([[f"g{i % 50}" for i in range(210)]]))
    test = pa.table({"text": [t.title() for t in text[:60]], "label": label[:60]})
    (found,) = lines(pa.table({"text": text, "label": label}), "alike", test=test)
    assert found.value == 1.0 and "held-out texts" in found.message


def test_different_texts_and_blank_ones_are_not_alike():
    text, label = texts()
    table = pa.table({"text": [*text, "!!!", "???", None, "是", "否"], "label": [*label, "yes", "no", "yes", "no", "yes"]})
    assert not lines(table, "alike")


def patients(n=300, rows=3, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    sick = rng.random(n) < 0.5
    who = np.repeat(np.arange(n), rows)
    label = np.where(rng.random(n * rows) < noise, ~sick[who], sick[who])
    return pa.table({"who": [f"p{i}" for i in who], "x": rng.normal(size=n * rows), "label": np.where(label, "sick", "well").tolist()})


def test_rows_of_one_patient_that_have_one_label_are_groups_to_split_by():
    kinds = {"who": "categorical", "x": "numeric"}
    (found,) = lines(patients(), "groups", kinds=kinds)
    assert "data.split: {by: group, column: who}" in found.message and found.value == 1.0
    assert not lines(patients(), "groups", kinds=kinds, split=Split(by="group", column="who"), keys=patients().column("who"))
    assert not lines(patients(noise=0.5), "groups", kinds=kinds), "labels that vary within a patient"
    assert not lines(patients(n=900, rows=1), "groups", kinds=kinds), "an identifier, of which other checks speak"
