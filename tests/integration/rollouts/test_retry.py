"""A rollout made again from the registered package, by the real server behind the real Envoy."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from components.rollout import logic
from sluice.cli import main
from sluice.core import files
from sluice.core.home import Home
from sluice.data.dataset import write_dataset
from sluice.package import package
from sluice.package.store import default_store
from sluice.registry.references import registry_of
from sluice.registry.versions import CANDIDATE, CHAMPION, Registry
from sluice.rollouts import local

PROJECT: dict[str, Any] = {
    "name": "digits",
    "task": "image",
    "data": {"source": "sklearn://digits"},
    "model": {"channels": 1, "size": [8, 8]},
    "rollout": {"latency_slo_ms": 0.001, "verify_seconds": 5.0},
}


def digits() -> Any:
    spec = importlib.util.spec_from_file_location("digits", Path(__file__).with_name("digits.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dataset(root: Path, n: int = 60) -> Path:
    x, y = digits().rows()
    images = []
    for image in x[-n:]:
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        images.append(png.getvalue())
    rows = pa.table({"row_id": [str(i) for i in range(n)], "image": pa.array(images, pa.binary()), "label": [str(v) for v in y[-n:]]})
    write_dataset(
        root,
        {"train": rows.slice(0, n // 2), "test": rows.slice(n // 2)},
        task="image",
        objective="classification",
        labels=sorted({str(v) for v in y[-n:]}),
        columns={"image": "image"},
        source={},
        shard_rows=100,
    )
    return root


@pytest.mark.timeout(400)
def test_a_first_model_that_was_rolled_back_is_tried_again_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sluice(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*args, "--home", str(home.root)])
        return status, *capsys.readouterr()

    home = Home(tmp_path / "a home%20").create()
    made = default_store(home).add(package.read(digits().build(tmp_path / "package", "digits", 600)))
    uri = default_store(home).uri(made.digest)
    registry = Registry(home.tracking_uri)
    registry.set_alias("digits", CANDIDATE, registry.register("digits", made.digest, uri, metrics={}, tags={}, run_id=None).number)
    before = home.new_run("digits")
    files.write_json(
        home.runs / before / "outcome.json",
        {
            "run": before,
            "project": "digits",
            "outcome": "rolled_back",
            "digest": made.digest,
            "version": "1",
            "seconds": 3.0,
            "reasons": ["slow answers"],
        },
    )
    data = dataset(tmp_path / "dataset")
    (tmp_path / "project").mkdir()
    # The first time every answer is slower than a microsecond, whatever else the machine does.
    with monkeypatch.context() as calm:
        calm.setattr(local.Machine, "limit", lambda _: None)
        text = json.dumps(PROJECT)
        assert (
            logic.run(
                text,
                str(tmp_path / "project"),
                str(home.root),
                made.digest,
                dataset_path=str(data),
                report_path=str(tmp_path / "report"),
                gate_path=str(tmp_path / "gate"),
            )
            == "rolled_back"
        )
    assert "slow answers" in json.loads((tmp_path / "gate").read_text())["reasons"][0]
    assert registry_of(home).by_alias("digits", CHAMPION) is None
    folder = home.rollouts / "digits" / "again"
    folder.rename(tmp_path / "aside")
    status, _, said = sluice("rollout", "retry", "digits")
    assert status == 2 and "not there any more" in said and "sluice run" in said
    (tmp_path / "aside").rename(folder)
    status, _, said = sluice("rollout", "retry", "digits", "--set", "train.epochs=3")
    assert status == 2 and "no part of the plan" in said
    data.rename(tmp_path / "data-is-gone")

    status, out, said = sluice(
        "rollout", "retry", "digits", "--json", "--set", "rollout.latency_slo_ms=60000", "--set", "rollout.verify_seconds=1"
    )
    assert status == 0, out + said
    outcome = json.loads(out)
    assert (outcome["outcome"], outcome["exit_code"], outcome["retry_of"], outcome["digest"]) == ("promoted", 0, before, made.digest)
    assert [s["step"] for s in outcome["steps"]] == ["rollout"]
    assert f"the rollout of {before} again, nothing was trained" in Path(outcome["report"]).read_text()
    champion = registry_of(home).by_alias("digits", CHAMPION)
    assert champion is not None and champion.digest == made.digest and champion.tags["sluice.rollout"] == "promoted"
    assert "promoted (retry)" in sluice("history")[1]
    status, _, said = sluice("rollout", "retry", "digits")
    assert status == 2 and "nothing to try again" in said
