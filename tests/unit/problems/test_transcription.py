"""Transcripts: symbols to texts and back, error rates with their intervals over units, what is told and drawn."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sluice.data.checks import validate
from sluice.data.config import Checks, Split
from sluice.data.sounds import RATE, wav
from sluice.gates.config import EvaluateConfig
from sluice.problems.evaluator import evaluate
from sluice.problems.problem import problem
from sluice.problems.transcription import END, LONGEST, UNKNOWN, texts
from sluice.problems.units import Units
from sluice.project import parse
from sluice.tasks import load_task
from sluice.tasks.transcribe import symbols

ASKED = problem("transcription")
LABELS = ["▁five", "▁one", "▁two"]
LETTERS = sorted(set("▁onetwfiv"))


def column(*rows: list[str] | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(rows, pa.list_(pa.string()))])


def answer(*rows: list[int], sure: float = 0.9) -> np.ndarray:
    out = np.zeros((len(rows), LONGEST, 2), dtype=np.float32)
    out[..., 0] = END
    for row, codes in zip(out, rows, strict=True):
        row[: len(codes), 0], row[: len(codes), 1] = codes, sure
    return out


def judged(
    outputs: np.ndarray, *truth: list[str], labels: list[str] = LABELS, units: Units | None = None, metric: str | None = None
) -> dict:
    targets = ASKED.targets(column(*truth), labels)
    return evaluate(outputs, targets, labels, EvaluateConfig(metric=metric), asked=ASKED, units=units)


@pytest.mark.parametrize("units", ["words", "characters"])
def test_a_transcript_is_the_same_text_as_symbols(units: str) -> None:
    column_ = column(symbols("One two  FIVE.", units, plain=True))
    labels = ASKED.labels(column_)
    assert texts(ASKED.targets(column_, labels), labels) == ["one two five"]
    assert ASKED.fastest(labels) == {"words": 12.5, "characters": 25.0}[units]


@pytest.mark.parametrize(
    ("text", "plain", "found"),
    [
        ("It\u2019s FIVE o'clock -- 'now'!", True, ["it's", "five", "o'clock", "now"]),
        ("It's  Five", False, ["It's", "Five"]),
        ("안녕 세상", True, ["안녕", "세상"]),
        ("a▁b", False, ["a", "b"]),
        ("...", True, []),
        (None, True, []),
    ],
)
def test_words_are_letters_marks_and_digits(text: str | None, plain: bool, found: list[str]) -> None:
    assert symbols(text, "words", plain=plain) == ["▁" + word for word in found]
    assert "".join(symbols(text, "characters", plain=plain)) == "▁".join(found)


@pytest.mark.parametrize(
    ("texts_", "units", "said"),
    [
        (["One two"] * 3, None, "words"),
        (["One two"] * 2, None, "characters"),
        ([f"w{i} w{i} w{i}" for i in range(201)], None, "characters"),
        (["One two"] * 2, "words", "words"),
    ],
)
def test_words_are_symbols_where_they_are_few_and_come_often(texts_: list[str], units: str | None, said: str) -> None:
    task = load_task(
        parse({"name": "x", "task": "transcribe", "data": {"source": "x"}, "model": {} if units is None else {"units": units}})
    )
    table = pa.table({"audio": pa.array([b""] * len(texts_), pa.binary()), "label": texts_})
    assert task.canonical(table).column("label")[0].as_py() == symbols(texts_[0], said, plain=True)
    assert f"read as its {said}" in task.notes(table)[0] and task.problem(table) is ASKED
    # The held-out rows have the symbols of the source, whatever they show by themselves.
    other = pa.table({"audio": pa.array([b""], pa.binary()), "label": ["new"]})
    assert task.canonical(other).column("label")[0].as_py() == symbols("new", said, plain=True)


def test_error_rates_are_edits_of_all_rows_together() -> None:
    found = judged(answer([1, 2], [0, 0, 0], []), ["▁one", "▁two"], ["▁five"], ["▁two", "▁one"])
    values = {name: m["value"] for name, m in found["metrics"].items()}
    assert found["metric"] == "word_error_rate" and found["direction"] == "lower"
    assert values == pytest.approx({"word_error_rate": 4 / 5, "character_error_rate": 17 / 18, "sentence_error_rate": 2 / 3})
    said = found["transcription"]
    assert (said["words"], said["right"], said["edits"]) == (5, 1, {"substitution": 0, "deletion": 2, "insertion": 2})
    assert [r["row"] for r in said["worst"]] == [2, 3] and said["worst"][0]["edits"][-1] == ["same", "five", "five"]


def test_characters_make_words_whose_errors_count_once() -> None:
    truth = symbols("one two", "characters", plain=True)
    said = [LETTERS.index(c) for c in "one▁twe"]
    values = {k: v["value"] for k, v in judged(answer(said), truth, labels=LETTERS)["metrics"].items()}
    assert values == pytest.approx({"word_error_rate": 1 / 2, "character_error_rate": 1 / 7, "sentence_error_rate": 1})


def test_a_symbol_nobody_learnt_is_an_error_and_is_said() -> None:
    targets = ASKED.targets(column(["▁one", "▁nine"]), LABELS)
    assert targets[0, :3].tolist() == [1, UNKNOWN, END]
    found = judged(answer([1, 2]), ["▁one", "▁nine"])
    assert found["value"] == 0.5 and found["transcription"]["unknown"] == 1 and "never did" in ASKED.section(found)


def test_intervals_are_over_units() -> None:
    rng = np.random.default_rng(3)
    truth = [["▁one", "▁two", "▁five", "▁one"]] * 60
    bad = np.repeat(rng.random(6) < 0.5, 10)
    outputs = answer(*[[1, 2, 0, 1] if not b else [2, 2, 2, 1] for b in bad])
    rows, units = judged(outputs, *truth), judged(outputs, *truth, units=Units("speaker", np.repeat(np.arange(6), 10)))
    assert rows["value"] == units["value"] and units["unit"] == "speaker" and units["units"] == 6
    assert units["high"] - units["low"] > 2 * (rows["high"] - rows["low"])


def test_two_models_are_paired_by_name_and_not_by_place() -> None:
    ours = ASKED.answers(answer([1, 2], [0]), ASKED.targets(column(["▁one", "▁two"], ["▁five"]), LABELS), LABELS)
    a, b, both = ASKED.pair(ours, LABELS, answer([1, 2], [3]), ["▁eight", "▁one", "▁two", "▁five"], None)
    assert both.all() and ASKED.told_apart(a, b) == {"n_discordant": 0} and ASKED.metrics()["word_error_rate"].alike(a, b)
    _, c, _ = ASKED.pair(ours, LABELS, answer([0, 2], [3]), ["▁eight", "▁one", "▁two", "▁five"], None)
    assert ASKED.told_apart(a, c) == {"n_discordant": 1} and c.outputs[0, 0, 0] == UNKNOWN


def test_a_champion_of_characters_is_judged_by_its_texts() -> None:
    ours = ASKED.answers(answer([1, 2], [0]), ASKED.targets(column(["▁one", "▁two"], ["▁five"]), LABELS), LABELS)
    letters = answer(*[[LETTERS.index(c) for c in text] for text in ("one▁two", "fivf")])
    a, b, _ = ASKED.pair(ours, LABELS, letters, LETTERS, None)
    values = {name: (m.value(a), m.value(b)) for name, m in ASKED.metrics().items()}
    assert values["word_error_rate"] == pytest.approx((0, 1 / 3)) and values["character_error_rate"] == pytest.approx((0, 1 / 11))


def test_the_difference_of_two_models_has_an_interval() -> None:
    truth = ASKED.targets(column(*[["▁one", "▁two"]] * 40), LABELS)
    ours, theirs = (ASKED.answers(answer(*[[1, 2]] * n, *[[1]] * (40 - n)), truth, LABELS) for n in (40, 30))
    low, high = ASKED.metrics()["word_error_rate"].difference(ours, theirs, 0.95, 100)
    assert 0 < low <= 10 / 80 <= high < 0.3


def test_the_constant_answer_has_the_fewest_errors() -> None:
    often = ASKED.targets(column(["▁one"], ["▁one"], ["▁one"], ["▁two", "▁five"]), LABELS)
    said, answered = ASKED.constant(often, LABELS, "word_error_rate", None)
    assert said == "answering 'one' throughout" and texts(answered[None, :, 0], LABELS) == ["one"]
    short = ASKED.targets(column(["▁two"], ["▁five"], ["▁one"]), LABELS)
    assert "answering" in ASKED.constant(short, LABELS, "sentence_error_rate", None)[0]


def test_what_a_client_is_told() -> None:
    outputs = answer([1, 2, 0], [])
    outputs[0, 1, 1] = 0.4
    told = ASKED.told(outputs, LABELS)
    assert told["text"].tolist() == ["one two five", ""] and told["confidence"] == pytest.approx([0.4, 0.0])
    assert ASKED.observed(outputs).tolist() == [3, 0]
    assert ASKED.columns(outputs, LABELS, None)["text"].to_pylist() == ["one two five", ""]


def test_two_graphs_are_as_far_apart_as_probabilities_and_a_tie_is_no_fault() -> None:
    one, other = answer(*[[1, 2]] * 200), answer(*[[1, 2]] * 200, sure=0.8)
    assert ASKED.apart(one, other) == pytest.approx(0.1) and ASKED.agreement(one, other, LABELS, None, one) == 1
    tie = answer(*[[1, 2]] * 198, *[[1]] * 2)
    assert ASKED.apart(tie, one) == 0 and ASKED.agreement(tie, one, LABELS, None, one) == 0.99
    assert ASKED.apart(answer(*[[1, 2]] * 190, *[[1]] * 10), one) == 1
    assert ASKED.change(answer([1, 2], []), answer([1, 0], []), np.zeros((2, 1))) == pytest.approx([0.5, 0])


def test_the_report_draws_the_worst_with_their_edits() -> None:
    page = ASKED.section(judged(answer([1, 1], [0, 2]), ["▁one", "▁two"], ["▁five"]))
    assert "one <del>two</del><ins>one</ins>" in page and "five <ins>two</ins>" in page and "(nothing)" in page
    assert "worst" not in ASKED.section(judged(answer([1]), ["▁one"]))


# --- the rows of a source ---


def report(seconds: list[float], *labels: list[str] | None, held_out: list[list[str]] | None = None):
    def table(rows: list) -> pa.Table:
        tones = [wav(0.1 * np.sin(np.arange(int(RATE * s)) * (0.1 + 0.01 * i))) for i, s in enumerate(seconds[: len(rows)])]
        return pa.table({"audio": pa.array(tones, pa.binary()), "label": pa.array(rows, pa.list_(pa.string()))})

    test = None if held_out is None else table(held_out)
    return validate(table([*labels]), test, kinds={"audio": "audio"}, objective="transcription", checks=Checks(rows_min=2), split=Split())


def said(made, status: str) -> str:
    return " ".join(c.message for c in made.checks if c.status == status and c.name in ("transcripts", "nulls"))


def test_rows_that_can_be_learnt_from_pass() -> None:
    assert "2 symbols; 1 to 2 of them a row" in said(report([0.5, 0.6], ["▁one"], ["▁one", "▁two"]), "pass")


def test_a_transcript_longer_than_its_recording_can_hold_is_refused() -> None:
    made = report([0.5, 0.2], ["▁one"], ["▁one", "▁two", "▁two"])
    assert made.decision == "refuse" and "12.5 a second" in said(made, "refuse") and "row 2: 3 in 0.20 seconds" in said(made, "refuse")
    made = report([0.5, 0.2], ["▁one"], ["▁two", "▁one"])
    assert not said(made, "refuse"), made.reasons  # two equal ones need a frame between them
    assert "more than 512 symbols" in said(report([60.0, 0.2], ["▁one"] * 600, ["▁two"]), "refuse")


def test_no_transcript_is_left_out_and_a_new_word_is_warned_of() -> None:
    assert "no label" in said(report([0.5] * 3, ["▁one"], None, ["▁two"]), "warn")
    made = report([0.5] * 3, ["▁one"], ["▁two"], held_out=[["▁one", "▁nine"], ["▁two"]])
    assert not said(made, "refuse") and "'▁nine'" in said(made, "warn") and "counts as an error" in said(made, "warn")
