"""A real training, scraped while it runs."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from sluice.core.processes import free_port
from sluice.learners.fit import fit

HERE = Path(__file__).parent


def test_a_training_serves_its_loss_rate_and_step(points, project, tmp_path):
    port, found = free_port(), []

    def on_event(event):
        if event["kind"] == "epoch" and event["epoch"] == 2:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
            found.append(dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")))

    result = fit(
        project({"seconds_a_step": 0.02}, processes=2, metrics_port=port), points, tmp_path / "out", base_dir=HERE, on_event=on_event
    )
    values = {name.partition("{")[0]: float(value) for name, value in found[0].items()}
    assert 20 <= values["sluice_train_step"] <= 40 and values["sluice_train_steps"] == 40
    assert 0 < values["sluice_train_loss"] < 5 and values["sluice_train_samples_per_second"] > 0
    assert result.history[-1]["step"] == 40


def test_no_port_serves_nothing_and_the_model_is_the_same(points, project, tmp_path):
    port = free_port()
    with_port = fit(project(metrics_port=port), points, tmp_path / "a", base_dir=HERE)
    without = fit(project(), points, tmp_path / "b", base_dir=HERE)
    assert (with_port.root / "model.safetensors").read_bytes() == (without.root / "model.safetensors").read_bytes()
