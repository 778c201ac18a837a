"""A profile is the reference's bins; new rows are counted into them."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.errors import DataError
from sluice.core.png import png
from sluice.data.dataset import Dataset, write_dataset
from sluice.data.digests import row_ids
from sluice.data.profile import profile_counts, profile_dataset
from sluice.fields.text import BUCKETS
from sluice.stats.drift import psi

RNG = np.random.default_rng(2)


def dataset(root: Path, task: str, kinds: dict[str, str], label: Any = None, **columns: Any) -> Dataset:
    table = pa.table(columns)
    label = pa.array(["a", "b"] * (table.num_rows // 2) if label is None else label)
    table = table.append_column("label", label)
    table = table.append_column("row_id", row_ids(table, list(kinds)))
    numeric = pa.types.is_floating(label.type)
    return write_dataset(
        root / "d",
        {"train": table},
        task=task,
        objective="regression" if numeric else "classification",
        labels=[] if numeric else sorted(set(label.to_pylist())),
        columns=kinds,
        source={},
        shard_rows=70,
    )


def table_of(d: Dataset) -> pa.Table:
    return d.read("train")


def consistent(profile: dict[str, Any], counts: dict[str, Any]) -> None:
    """The reference counted into its own bins gives the reference's counts."""
    for name, feature in profile["features"].items():
        assert {part: spec["counts"] for part, spec in feature["parts"].items()} == counts["features"][name]
        for spec in feature["parts"].values():
            assert math.isclose(sum(spec["fractions"]), 1, abs_tol=1e-6)
    assert counts["rows"] == profile["rows"]


def test_numeric_and_categorical(tmp_path: Path) -> None:
    x = [float(v) for v in RNG.normal(size=196)] + [None] * 4
    town = (["Rome"] * 100 + ["Oslo"] * 60 + [None, ""] * 10 + ["Bonn"] * 20)[:200]
    d = dataset(tmp_path, "tabular", {"x": "numeric", "town": "categorical"}, x=pa.array(x), town=pa.array(town))
    profile = profile_dataset(d)
    value = profile["features"]["x"]["parts"]["value"]
    assert len(value["edges"]) == 9 and len(value["counts"]) == 11 and value["counts"][-1] == 4
    assert max(value["fractions"][:-1]) - min(value["fractions"][:-1]) < 0.02, "deciles"
    assert profile["features"]["x"]["mean"] == pytest.approx(np.mean(x[:196])) and profile["features"]["x"]["nulls"] == 4
    places = profile["features"]["town"]["parts"]["value"]
    assert places["values"] == ["Rome", "Oslo", "Bonn"] and places["counts"] == [100, 60, 20, 0, 20]
    assert profile["label"] == {"values": ["a", "b"], "counts": [100, 100, 0, 0], "fractions": [0.5, 0.5, 0.0, 0.0]}
    consistent(profile, profile_counts(profile, table_of(d)))


def test_new_rows_are_counted_by_the_references_bins_alone(tmp_path: Path) -> None:
    d = dataset(tmp_path, "tabular", {"x": "numeric", "town": "categorical"}, x=np.arange(100.0), town=["Rome"] * 100)
    profile = profile_dataset(d)
    rows = [{"x": -1e9, "town": "Rome"}, {"x": 1e9, "town": "Paris"}, {"x": None, "town": ""}, {}, {"x": "junk", "town": 7}]
    found = profile_counts(profile, rows, labels=["a", "zzz", None])
    assert found["rows"] == 5 and found["label"] == [1, 0, 1, 1]
    assert found["features"]["town"]["value"] == [1, 2, 2]
    x = found["features"]["x"]["value"]
    assert (x[0], x[-2], x[-1], sum(x)) == (1, 1, 3, 5)


def test_moved_numbers_are_far_and_the_same_are_near(tmp_path: Path) -> None:
    d = dataset(tmp_path, "tabular", {"x": "numeric"}, x=RNG.normal(size=2000))
    profile = profile_dataset(d)
    reference = profile["features"]["x"]["parts"]["value"]["counts"]
    near = profile_counts(profile, pa.table({"x": RNG.normal(size=1000)}))["features"]["x"]["value"]
    far = profile_counts(profile, pa.table({"x": RNG.normal(1.0, size=1000)}))["features"]["x"]["value"]
    assert psi(reference, near) < 0.05 < 0.25 < psi(reference, far)


def test_only_the_commonest_categories_have_a_bin(tmp_path: Path) -> None:
    names = [f"c{i:03d}" for i in range(100) for _ in range(1 if i >= 50 else 3)]
    d = dataset(tmp_path, "tabular", {"c": "categorical"}, c=names)
    part = profile_dataset(d)["features"]["c"]["parts"]["value"]
    assert part["values"] == [f"c{i:03d}" for i in range(50)] and part["counts"][-2:] == [50, 0]


def test_text(tmp_path: Path) -> None:
    texts = ["Play some music!", "what is the weather", "stop", "PLAY music play"] * 50
    profile = profile_dataset(dataset(tmp_path, "text", {"text": "text"}, text=texts))
    parts = profile["features"]["text"]["parts"]
    tokens = parts["tokens"]["counts"]
    assert len(tokens) == BUCKETS and sum(tokens) == 50 * (3 + 4 + 1 + 3)
    assert tokens[zlib.crc32(b"play") % BUCKETS] == 150 and tokens[zlib.crc32(b"weather") % BUCKETS] == 50
    assert sum(parts["characters"]["counts"]) == sum(parts["words"]["counts"]) == 200
    consistent(profile, profile_counts(profile, texts))
    other = profile_counts(profile, ["", None, "quantum chromodynamics", 5, {"text": "stop"}, {"no": 1}])["features"]["text"]
    assert other["characters"][-1] == other["words"][-1] == 3 and sum(other["tokens"]) == 3


@given(st.lists(st.text(max_size=30), min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_lengths_and_tokens_of_any_text(texts: list[str]) -> None:
    import re
    from collections import Counter

    from sluice.fields.text import _lengths, _token_counts

    found = _lengths(pa.array(texts, pa.string()))
    assert found["characters"].tolist() == [len(t) for t in texts]
    assert all(
        w >= 0 and (w > 0) == bool(re.search(r"\S", t.replace("\x1c", " ")))
        for w, t in zip(found["words"], texts, strict=True)
        if t.isascii() and t.isprintable()
    )
    ascii_ = [t for t in texts if t.isascii()]
    words = Counter(zlib.crc32(w.lower().encode()) % BUCKETS for t in ascii_ for w in re.findall(r"[A-Za-z0-9]+", t))
    assert _token_counts(pa.array(ascii_, pa.string())).tolist() == [words[i] for i in range(BUCKETS)]


def picture(level: int, size: int = 8) -> bytes:
    return png(RNG.integers(level, level + 20, (size, size)).tolist())


def test_images(tmp_path: Path) -> None:
    images = [picture(20 + i % 150) for i in range(200)]
    d = dataset(tmp_path, "image", {"image": "image"}, image=pa.array(images, pa.binary()))
    profile = profile_dataset(d)
    feature = profile["features"]["image"]
    assert feature["channels"] == 1 and 20 < feature["mean"] < 190 and feature["std"] > 0
    assert set(feature["parts"]) == {"brightness", "contrast", "pixels", "channel_0"}
    assert len(feature["parts"]["channel_0"]["counts"]) == 17 and sum(feature["parts"]["channel_0"]["counts"]) == 200 * 32 * 32
    consistent(profile, profile_counts(profile, images))
    new = profile_counts(profile, [picture(230), b"broken", None, picture(20, 30)])["features"]["image"]
    assert new["brightness"][-1] == new["pixels"][-1] == new["channel_0"][-1] == 2 and new["brightness"][-2] == 1
    assert sum(new["channel_0"][:-1]) == 2 * 32 * 32


def test_colour_images_have_a_histogram_a_channel(tmp_path: Path) -> None:
    import io

    from PIL import Image

    images = []
    for i in range(10):
        out = io.BytesIO()
        Image.new("RGB", (4, 4), (250, 10 * i, 0)).save(out, "PNG")
        images.append(out.getvalue())
    parts = profile_dataset(dataset(tmp_path, "image", {"image": "image"}, image=pa.array(images, pa.binary())))["features"]["image"][
        "parts"
    ]
    assert parts["channel_0"]["counts"][15] == parts["channel_2"]["counts"][0] == 10 * 1024
    assert sum(c > 0 for c in parts["channel_1"]["counts"]) == 6  # 0..90 in steps of ten, bins of 16


def test_only_a_sample_of_many_images_is_looked_at_and_it_is_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.fields.pixels.SAMPLE", 30)
    d = dataset(tmp_path, "image", {"image": "image"}, image=pa.array([picture(i % 200) for i in range(100)], pa.binary()))
    first = profile_dataset(d)
    assert sum(first["features"]["image"]["parts"]["brightness"]["counts"]) == 30 and first["rows"] == 100
    assert profile_dataset(d) == first


def test_a_profile_is_json_and_equal_for_equal_rows_however_they_are_cut(tmp_path: Path) -> None:
    x, town = RNG.normal(size=300), RNG.choice(["a", "b", "c"], 300)
    made = [dataset(tmp_path / str(i), "tabular", {"x": "numeric", "town": "categorical"}, x=x, town=town) for i in range(2)]
    profiles = [orjson.dumps(profile_dataset(d)) for d in made]
    assert profiles[0] == profiles[1]
    assert orjson.loads(profiles[0]) == profile_dataset(made[0])


def test_quantities_as_labels_are_profiled_by_deciles(tmp_path: Path) -> None:
    d = dataset(tmp_path, "tabular", {"x": "numeric"}, label=RNG.normal(size=200), x=RNG.normal(size=200))
    label = profile_dataset(d)["label"]
    assert len(label["edges"]) == 9 and len(label["counts"]) == 11
    assert sum(profile_counts(profile_dataset(d), [{"x": 1.0}], labels=[0.5])["label"]) == 1


def test_degenerate_columns_have_a_profile(tmp_path: Path) -> None:
    d = dataset(
        tmp_path,
        "tabular",
        {"same": "numeric", "none": "numeric", "nothing": "categorical"},
        same=[1.0] * 10,
        none=pa.nulls(10, pa.float64()),
        nothing=pa.nulls(10, pa.string()),
    )
    profile = profile_dataset(d)
    consistent(profile, profile_counts(profile, table_of(d)))
    assert profile["features"]["none"]["mean"] is None and profile["features"]["none"]["parts"]["value"]["counts"] == [0, 10]
    assert profile_counts(profile, [])["rows"] == 0


def test_a_plugins_own_kind_has_no_parts(tmp_path: Path) -> None:
    d = dataset(tmp_path, "m:T", {"wave": "audio"}, wave=pa.array([[1.0]] * 4, pa.list_(pa.float64())))
    profile = profile_dataset(d)
    assert profile["features"]["wave"] == {"kind": "audio", "parts": {}}
    assert profile_counts(profile, table_of(d))["features"] == {"wave": {}}


def test_another_format_is_refused() -> None:
    with pytest.raises(DataError, match=r"profile: format is not sluice.profile/v1"):
        profile_counts({"format": "x"}, [])


def test_rows_of_a_client_are_counted_however_their_values_are_typed(tmp_path):
    d = dataset(
        tmp_path, "tabular", {"flag": "categorical", "store": "categorical"}, flag=["true", "false"] * 20, store=["1", "2", "2", "3"] * 10
    )
    profile = profile_dataset(d)
    typed = profile_counts(
        profile, [{"flag": True, "store": 1.0}, {"flag": 1, "store": 3}, {"flag": 0.0, "store": math.inf}, {"flag": None, "store": 9}]
    )
    text = profile_counts(
        profile,
        [{"flag": "true", "store": "1"}, {"flag": "true", "store": "3"}, {"flag": "false", "store": "?"}, {"flag": "", "store": "9"}],
    )
    assert typed["features"] == text["features"]
