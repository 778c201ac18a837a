"""A person's way through Kubeflow Pipelines' web page, in a browser: upload, form, run, outcome, compare.

``KF_PIPELINES_UI_ENDPOINT`` names the page's address, for example ``http://localhost:8080`` after
``kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80``. Elsewhere the form is held by tests/unit/pipelines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sluice.kfp.client import Api
from sluice.kfp.connection import UI_VARIABLE, connect
from tests.e2e.test_kfp import endpoint, image, pipelines, project, registry, sluice, unregister

__all__ = ["endpoint", "image", "pipelines", "registry"]  # fixtures
NAME = f"digits-e2e-page-{uuid.uuid4().hex[:6]}"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    address = os.environ.get(UI_VARIABLE)
    if not address:
        pytest.skip(f"{UI_VARIABLE} names no web page of Kubeflow Pipelines")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        made = opened.new_page(viewport={"width": 1400, "height": 1800}, base_url=address.rstrip("/"))
        made.set_default_timeout(60_000)
        yield made
        opened.close()


@pytest.fixture(scope="module")
def uploaded(page: Any, kube: Any, endpoint: str, image: str, registry: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The compiled project, uploaded by the page; the address of the form that starts a run of it."""
    folder = tmp_path_factory.mktemp("page")
    path = project(folder, kube.namespace, width=8)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"name": NAME}))
    code, _, said = sluice("compile", str(path), "-o", str(folder / "pipeline.yaml"), "--image", image)
    assert code == 0, said
    page.goto("/#/pipeline_versions/new")
    page.fill("#newPipelineName", NAME)
    page.get_by_label("Upload a file").check()
    page.locator("#dropZone input[type=file]").set_input_files(folder / "pipeline.yaml")
    page.locator("#createNewPipelineOrVersionBtn").click()
    page.locator("#createNewRunBtn").click()
    page.wait_for_selector("#train_epochs")
    yield page.url
    unregister(registry, NAME)


def start(page: Any, form: str, api: Api, name: str, fields: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Fill in the form and start a run; its id, and it at its end."""
    page.goto("about:blank")
    page.goto(form)
    page.wait_for_selector("#train_epochs")
    for field, value in fields.items():
        page.fill(f"#{field}", value)
    page.get_by_label("Run name").fill(name)
    page.locator("#startNewRunBtn").click()
    page.wait_for_url("**/runs/details/*")
    run = str(page.url).rsplit("/", 1)[-1]
    return run, api.run(run)


def ended(kube: Any, api: Api, run: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        made = api.run(run)
        return made if made.get("state") in ENDED else None

    return dict(kube.wait(found, f"the end of run {run}", 800))


def test_a_person_fills_in_the_form_and_sees_in_what_two_runs_differ(page: Any, kube: Any, endpoint: str, uploaded: str) -> None:
    api = Api(connect(endpoint))
    shown = {k: page.input_value(f"#{k}") for k in ("data_source", "train_epochs", "evaluate_minimum", "rollout_steps", "set", "project")}
    edited = json.loads(shown.pop("project"))
    assert shown == {
        "data_source": "sklearn://digits",
        "train_epochs": "3",
        "evaluate_minimum": "0.5",
        "rollout_steps": "[20,50]",
        "set": "",
    }
    assert not page.locator("#home, #base_dir").count() and page.locator("#startNewRunBtn").is_enabled(), (
        "nothing is missing from the start"
    )

    # a value that cannot be: told by the first step, with the field, the value and the fix
    wrong, _ = start(page, uploaded, api, f"{NAME}-wrong", {"train_epochs": "-3"})
    assert ended(kube, api, wrong)["state"] == "FAILED"
    pods = kube.run("logs", "-l", f"pipeline/runid={wrong}", "-c", "main", "--tail=-1", namespace="kubeflow")
    assert "train_epochs: train.epochs: Input should be greater than or equal to 1 (got -3)" in pods and "fix: change train_epochs" in pods

    # edited in the editor and in fields: what nobody touched undoes nothing
    edited["train"]["epochs"], edited["train"]["seed"] = 1, 18
    run, made = start(
        page, uploaded, api, f"{NAME}-refused", {"project": json.dumps(edited), "set": "model.width=4", "evaluate_minimum": "0.9999"}
    )
    sent = made["runtime_config"]["parameters"]
    assert (sent["project"]["train"]["seed"], sent["train_epochs"], sent["set"]) == (18, 3, "model.width=4")
    assert ended(kube, api, run)["state"] == "SUCCEEDED"
    said = kube.run("logs", "-l", f"pipeline/runid={run}", "-c", "main", "--tail=-1", namespace="kubeflow")
    for setting in ("epochs: 1", "seed: 18", "width: 4"):
        key, value = setting.split(": ")
        assert re.search(rf'\b{key}\\*"?: ?{value}\b', said), f"{setting} in the one project that the first step handed on"

    page.goto("about:blank")
    page.goto(f"/#/compare?runlist={wrong},{run}")
    rows = page.locator("tr", has_text="evaluate_minimum")
    rows.first.wait_for()
    assert "0.5" in rows.first.inner_text() and "0.9999" in rows.first.inner_text()
    assert "-3" in page.locator("tr", has_text="train_epochs").first.inner_text()
    page.locator("tr", has_text="promoted").first.wait_for()
    said = page.locator("table", has_text="promoted").first.inner_text()
    assert '"failed"' in said and '"refused"' in said and "is below evaluate.minimum 0.9999" in said, "what each came to"
