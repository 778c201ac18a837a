"""What the checks say of texts and images."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sluice.core.png import png
from sluice.data.checks import validate
from sluice.data.config import Checks
from tests.unit.data.test_checks import RNG, SPLIT, N, only, report, rows


@pytest.mark.parametrize("nothing", [None, "", " \t"])
def test_texts_that_are_missing_or_blank_are_refused(nothing: str | None) -> None:
    texts = [f"text {i}" for i in range(N)]
    texts[2] = nothing  # type: ignore[call-overload]
    c = only(
        report(pa.table({"text": pa.array(texts, pa.string()), "label": rows().column("label")}), kinds={"text": "text"}, nulls_max=0.0),
        "nulls",
    )
    assert "no text (null or blank)" in c.message and c.examples == ("row 3",)


def texts(*odd: str) -> pa.Table:
    words = [f"tell me about number {i}" for i in range(N - len(odd))] + list(odd)
    return pa.table({"text": words, "label": rows().column("label")})


def test_texts() -> None:
    assert report(texts(), kinds={"text": "text"}).warnings == []
    c = only(report(texts("x" * 5000), kinds={"text": "text"}), "texts", "warn")
    assert "far longer than the others" in c.message and c.value == 5000
    assert "which no server takes" in only(report(texts("x" * (1 << 20) + "x"), kinds={"text": "text"}), "texts").message
    for odd in ("cafÃ©", "what\ufffd", "itâ€™s"):
        assert "wrong encoding" in only(report(texts(odd), kinds={"text": "text"}), "texts", "warn").message
    assert report(texts("café", "naïve Ã", "São"), kinds={"text": "text"}).warnings == []


def pictures() -> list[bytes | None]:
    return [png(RNG.integers(0, 256, (6, 6)).tolist()) for _ in range(N)]


def test_corrupt_images_are_refused_by_name() -> None:
    images = pictures()
    images[7] = images[7][:50]  # type: ignore[index]
    table = pa.table({"image": pa.array(images, pa.binary()), "label": rows().column("label")})
    made = validate(
        table, None, kinds={"image": "image"}, objective="classification", checks=Checks(), split=SPLIT, place=lambda row: f"pets/{row}.png"
    )
    c = only(made, "images")
    assert "1 image cannot be read: pets/7.png" in c.message and c.examples[0].startswith("pets/7.png: ")
    summary = made.to_dict()["columns"][0]
    assert summary["unreadable"] == 1 and summary["top"] == [{"value": "6x6", "count": N - 1}]


def test_missing_images_are_missing_not_corrupt() -> None:
    images = pictures()
    images[7] = None
    table = pa.table({"image": pa.array(images, pa.binary()), "label": rows().column("label")})
    assert "no image (null)" in only(report(table, kinds={"image": "image"}, nulls_max=0.0), "nulls").message
