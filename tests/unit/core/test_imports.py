"""Two threads that import what shares packages wait for one another, and what is installed and broken is not called missing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluice.core import s3
from sluice.core.errors import MissingExtra, SluiceError
from sluice.core.imports import ONE_AT_A_TIME
from sluice.kube import client
from sluice.tracking import mlflow


@pytest.mark.parametrize(
    ("package", "load"),
    [
        ("mlflow", mlflow._mlflow_client),
        ("kubernetes", lambda: client.settings_of("nobody's")),
        ("boto3", lambda: s3.client(field="x")),
    ],
)
def test_one_waits_for_the_other_and_a_fault_of_the_package_is_its_own(
    package: str, load: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: mlflow in the tracker's thread and the Kubernetes client in front of it, "partially initialized module 'requests.utils'"."""
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise ImportError('cannot import name x from partially initialized module')\n")
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    found: list[BaseException] = []

    def work() -> None:
        try:
            load()
        except (ImportError, SluiceError) as e:
            found.append(e)

    with ONE_AT_A_TIME:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not found
    thread.join(30)
    assert isinstance(found[0], ImportError) and not isinstance(found[0], MissingExtra)
