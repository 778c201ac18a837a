"""Pictures of Kubeflow Pipelines' page and of MLflow's, as docs/images shows them: two runs of the first example, and what a browser sees of them.

python -m tests.tools.kfp_pictures OUT MLFLOW     MLFLOW: the address of MLflow's page, http://127.0.0.1:30500 on kind

``KF_PIPELINES_UI_ENDPOINT`` names the page of Kubeflow Pipelines. The runs are submitted as any are, to the cluster of kubectl's context; the
model of theirs goes at the end.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sluice.kfp.client import Api
from sluice.kfp.connection import UI_VARIABLE, connect
from tests.tools.ui_pictures import browser

ROOT = Path(__file__).parents[2]
NAME = "digits-pictures"
#: What is asked of each run, and what it comes to.
RUNS = {"promoted": ("evaluate.minimum=0.5",), "refused": ("evaluate.minimum=0.9999",)}
_SMALL = ("model.width=8", "train.epochs=3", "rollout.ready_seconds=900", "rollout.latency_slo_ms=2000")
#: Milliseconds for a page on a machine that is busy; that its animations take.
_PATIENCE, _SETTLES = 120_000, 2_500


def made(api: Api) -> dict[str, dict[str, Any]]:
    """A run of each kind, to its end: its outcome, as `sluice submit --json` prints it."""
    found = {}
    for what, settings in RUNS.items():
        more = [f"--set={s}" for s in (f"name={NAME}", *_SMALL, *settings)]
        command = [sys.executable, "-m", "sluice", "submit", str(ROOT / "examples/digits/sluice.yaml"), "--wait", "--json", *more]
        ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=3600)
        found[what] = json.loads(ended.stdout)
        if found[what].get("outcome") != what:
            raise SystemExit(f"the run that was to be {what} came to {found[what]}")
    return found


def take(page: Any, out: Path, api: Api, runs: dict[str, dict[str, Any]], address: str, mlflow: str) -> None:
    """Form, graph, comparison and the version's page."""
    first, second = (runs[what]["run"] for what in RUNS)
    version = api.run(first)["pipeline_version_reference"]
    page.goto(f"{address}/#/runs/new?pipelineId={version['pipeline_id']}&pipelineVersionId={version['pipeline_version_id']}")
    page.locator("#train_epochs").wait_for()
    page.get_by_role("button", name="Open Json Editor").first.click()
    page.get_by_text("Run parameters").evaluate("found => found.scrollIntoView({block: 'start'})")
    _kept(page, out / "kfp-form.png", 900)

    page.goto("about:blank")
    page.goto(f"{address}/#/runs/details/{first}")
    page.get_by_text("validate-data").first.wait_for()
    page.add_style_tag(content=".react-flow__minimap { display: none }")  # a white box over the last steps
    _kept(page, out / "kfp-graph.png", 1100)

    page.goto("about:blank")
    page.goto(f"{address}/#/compare?runlist={first},{second}")
    page.locator("tr", has_text="promoted").first.wait_for()
    page.get_by_text("Parameters", exact=True).first.click()
    _kept(page, out / "kfp-compare.png", 1100)

    page.set_viewport_size({"width": 1200, "height": 1500})
    page.goto(f"{mlflow.rstrip('/')}/#/models/{NAME}/versions/{runs['promoted']['version']}")
    page.get_by_text("Schema").last.wait_for()
    page.wait_for_timeout(_SETTLES)
    for aside in page.get_by_label("Close", exact=True).all():  # the assistant
        aside.click()
    _kept(page, out / "mlflow-version.png", 900)


def _kept(page: Any, path: Path, width: int) -> None:
    """The picture, once the page has settled, as wide as the documentation shows it."""
    from PIL import Image

    page.wait_for_timeout(_SETTLES)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = taken.resize((width, taken.height * width // taken.width), Image.Resampling.LANCZOS)
    small.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


@contextlib.contextmanager
def forgotten(mlflow: str) -> Iterator[None]:
    """Afterwards nothing of the model serves, and the registry does not know it."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from sluice.kfp import site

    try:
        yield
    finally:
        space = site.environment_of()
        for kind, what in (("modelrollout", [NAME]), ("inferenceservice,httproute", ["-l", f"sluice.dev/rollout={NAME}"])):
            subprocess.run(["kubectl", "-n", space, "delete", kind, *what, "--ignore-not-found", "--timeout=120s"], check=False)
        with contextlib.suppress(MlflowException):
            MlflowClient(mlflow).delete_registered_model(NAME)


def main(out: Path, mlflow: str) -> int:
    """Make the runs and take the pictures."""
    from playwright.sync_api import sync_playwright

    address = os.environ.get(UI_VARIABLE, "").rstrip("/")
    if not address:
        raise SystemExit(f"{UI_VARIABLE} names no page of Kubeflow Pipelines")
    api = Api(connect())
    out.mkdir(parents=True, exist_ok=True)
    with forgotten(mlflow), sync_playwright() as p:
        runs = made(api)
        opened = browser(p)
        page = opened.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(_PATIENCE)
        take(page, out, api, runs, address, mlflow)
        opened.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), sys.argv[2]))
