"""What a training shows to the outside, from its events."""

from __future__ import annotations

import socket
import urllib.request

from sluice.core.processes import free_port
from sluice.learners.torch.telemetry import PORT_ENV, Gpus, Telemetry, port_of


def scrape(port: int) -> str:
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()


class TwoGpus(Gpus):
    def __init__(self) -> None:
        self._handles = [0, 1]

    def sample(self) -> list[tuple[float, int]]:
        return [(0.5, 100), (1.0, 300)]


def test_events_become_metrics_and_go_on_unchanged_but_for_an_epochs_memory():
    seen, port = [], free_port()
    telemetry = Telemetry(seen.append, "digits", port)
    telemetry.emit({"kind": "step", "loss": 0.5, "samples_per_second": 80.0, "step": 7, "epoch": 2, "steps": 30})
    found = scrape(port)
    for line in (
        'sluice_train_loss{project="digits"} 0.5',
        'sluice_train_samples_per_second{project="digits"} 80.0',
        'sluice_train_step{project="digits"} 7.0',
        'sluice_train_epoch{project="digits"} 2.0',
    ):
        assert line in found
    telemetry.emit({"kind": "epoch", "train_loss": 0.25, "step": 10, "epoch": 2})
    telemetry.emit({"kind": "warning", "text": "trouble"})
    assert 'sluice_train_loss{project="digits"} 0.25' in scrape(port)
    assert 'sluice_train_warnings{project="digits"} 1.0' in scrape(port)
    assert seen[0]["step"] == 7 and seen[1]["process_memory_bytes"] > 1e6 and seen[2]["text"] == "trouble"


def test_a_port_in_use_is_a_warning():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        seen: list[dict] = []
        telemetry = Telemetry(seen.append, "digits", taken.getsockname()[1])
        telemetry.emit({"kind": "step", "step": 1})
    assert "no metrics are served" in seen[0]["text"] and seen[1]["step"] == 1


def test_gpus_are_sampled_and_told_with_the_epoch(monkeypatch):
    monkeypatch.setattr("sluice.learners.torch.telemetry._EVERY", 0.01)
    seen, port = [], free_port()
    telemetry = Telemetry(seen.append, "digits", port, gpus=TwoGpus())
    while 'sluice_train_gpu_memory_bytes{gpu="1",project="digits"} 300.0' not in scrape(port):
        pass
    telemetry.emit({"kind": "epoch", "epoch": 1})
    assert seen[0]["gpu_utilisation"] == 0.75 and seen[0]["gpu_memory_bytes"] == 400


def test_no_driver_is_no_gpu(monkeypatch):
    import pynvml

    def none() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", none)
    assert len(Gpus()) == 0


def test_the_projects_port_goes_before_the_environments(monkeypatch):
    monkeypatch.delenv(PORT_ENV, raising=False)
    assert port_of(None) is None
    monkeypatch.setenv(PORT_ENV, "9464")
    assert port_of(None) == 9464 and port_of(1234) == 1234
