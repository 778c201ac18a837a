"""The wheel, built and taken alone: no checkout beside it, only what it asks for."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from sluice import __version__

ROOT = Path(__file__).parents[3]
#: Without `site` the checkout of an editable installation is not on the path.
RUN = "import sys; sys.path[:] = [p for p in sys.path if p] + sys.argv[1].split('|'); sys.argv[:] = ['sluice', *sys.argv[2:]]; from sluice.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
    with zipfile.ZipFile(next(out.glob("*.whl"))) as packed:
        packed.extractall(out / "site")
    return out / "site"


def ask(wheel: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{wheel}|{sysconfig.get_paths()['purelib']}"
    return subprocess.run(
        [sys.executable, "-S", "-E", "-c", RUN, path, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_wheel_makes_a_project_and_checks_its_data_and_says_what_running_it_takes(wheel: Path, tmp_path: Path) -> None:
    assert ask(wheel, tmp_path, "--version").stdout.strip() == f"sluice {__version__}"
    made = ask(wheel, tmp_path, "init", "p", "--task", "tabular")
    assert made.returncode == 0 and (tmp_path / "p/sluice.yaml").is_file(), made.stderr
    checked = ask(wheel, tmp_path, "data", "check", "p")
    assert checked.returncode == 0, checked.stderr
    refused = ask(wheel, tmp_path, "run", "p")
    assert refused.returncode == 2 and "git clone" in refused.stderr


def test_the_wheel_holds_the_library_and_nothing_of_the_checkout(wheel: Path) -> None:
    tops = {p.name for p in wheel.iterdir()}
    assert tops == {"sluice", f"sluice_ml-{__version__}.dist-info"}
    assert not list(wheel.rglob("*.ipynb")) and not list(wheel.rglob(".sluice"))
