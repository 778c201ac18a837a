"""The compiled pipeline: the golden file is what the code compiles to, and it is pinned, bounded and restricted."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from pipelines.compiler import GOLDEN, Compiled, compile_project, compile_training, compile_tuning, golden
from pipelines.training import pipeline_here
from sluice import project
from sluice.core.errors import ProjectError
from sluice.kfp import checks
from sluice.kfp.struct import from_struct
from sluice.steps.step import NAMES as STEPS

IMAGE = "registry.example:5000/team/pipeline@sha256:" + "a" * 64
OTHER = "registry.example:5000/team/pipeline@sha256:" + "b" * 64
TEXT = "{name: mine, task: text, data: {source: 's3://bucket/x.csv'}, cluster: %s}"


def built(cluster: str = "{}", image: str = IMAGE, allow_tag: bool = False) -> Compiled:
    text = TEXT % cluster
    settings = project.parse(project.read_text(text, "text"))
    return compile_training(settings, text=text, image=image, allow_tag=allow_tag)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return built()


@pytest.fixture(scope="module")
def goldens() -> dict[str, str]:
    return golden()


def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found


def container(made: Compiled, step: str) -> dict[str, Any]:
    return made.spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def platform(made: Compiled, step: str) -> dict[str, Any]:
    return made.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{step}"]


def test_the_golden_files_are_up_to_date(goldens: dict[str, str]) -> None:
    assert {p.name for p in GOLDEN.glob("*.yaml")} == set(goldens)
    for name, text in goldens.items():
        assert (GOLDEN / name).read_text() == text, "run `make golden` and look at the difference"


def test_the_golden_files_pass_the_static_checks() -> None:
    for path in GOLDEN.glob("*.yaml"):
        assert checks.faults(*yaml.safe_load_all(path.read_text())) == []


def test_every_step_is_at_the_root_in_a_line_and_asks_the_gate_before_it(compiled: Compiled) -> None:
    found = compiled.spec["root"]["dag"]["tasks"]
    line = [s.replace("_", "-") for s in STEPS]
    assert set(found) == {*line, "report"}
    assert [found[b]["dependentTasks"] for b in line[1:]] == [[a] for a in line[:-1]]
    assert not [c for c in compiled.spec["components"].values() if "dag" in c]
    drawn = {a for c in compiled.spec["components"].values() for a in c.get("outputDefinitions", {}).get("artifacts", {})}
    assert drawn == {"dataset", "model", "package", "metrics", "classification", "report", "outcome", "page"}  # each is a node of the graph
    asked = {
        n: re.findall(r"pipelinechannel--([a-z-]+)-Output'\] == '(\w+)'", t.get("triggerPolicy", {}).get("condition", ""))
        for n, t in found.items()
    }
    gate = {"preprocess": "validate-data", "evaluate": "export-onnx", "register": "evaluate"}  # behind a skipped step nothing starts
    assert asked == {n: [] for n in found} | {step: [(before, "pass")] for step, before in gate.items()}
    handed = {n: t["inputs"]["parameters"]["project"].get("taskOutputParameter", {}).get("producerTask") for n, t in found.items()}
    assert handed == dict(zip(line, [None, *line], strict=False)) | {"report": None}, (
        "no edge of the graph passes a step by for the project"
    )
    for name, task in found.items():  # what a condition names, the task is given, and its component knows
        for used in re.findall(r"parameter_values\['([^']+)'\]", task.get("triggerPolicy", {}).get("condition", "")):
            assert task["inputs"]["parameters"][used]["taskOutputParameter"]["producerTask"] == asked[name][0][0]
            assert compiled.spec["components"][f"comp-{name}"]["inputDefinitions"]["parameters"][used]["parameterType"] == "STRING"
        for given in (*task["inputs"].get("parameters", {}).values(), *task["inputs"].get("artifacts", {}).values()):
            assert "pipelinechannel--" not in given.get("componentInputParameter", "") + given.get("componentInputArtifact", "")


def test_the_report_waits_beside_the_steps_and_takes_nothing_of_theirs() -> None:
    made = built(
        "{defaults: {env: {A: '1'}, secrets: [{name: s3, env: {id: AWS_ACCESS_KEY_ID}}], volumes: [{claim: c, mount: /c}], timeout: 1h,"
        " resources: {requests: {cpu: 4, memory: 16Gi}}, node_selector: {pool: x}}, steps: {train: {timeout: 3h}}}"
    )
    task, extra, held = tasks(made.spec)["report"], platform(made, "report"), container(made, "report")["resources"]
    assert "dependentTasks" not in task and "triggerPolicy" not in task and not task["cachingOptions"].get("enableCache")
    assert task["inputs"]["parameters"]["run_id"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"
    assert held["resourceCpuRequest"] == "50m" and held["resourceMemoryRequest"] == "256Mi"
    assert set(extra) == {"activeDeadlineSeconds", "fieldPathAsEnv", "securityContext", "nodeSelector", "podMetadata"} and container(
        made, "report"
    )["env"] == [{"name": "A", "value": "1"}]
    steps = sum(int(platform(made, s.replace("_", "-"))["activeDeadlineSeconds"]) for s in STEPS)
    waits = int(task["inputs"]["parameters"]["seconds"]["runtimeValue"]["constant"])
    assert steps < waits < int(extra["activeDeadlineSeconds"]) < 3 * steps


def test_a_refusal_fails_the_run_only_where_the_project_says_so(compiled: Compiled) -> None:
    assert "refusal" not in tasks(compiled.spec)
    made = built("{refusal: fails}")
    task = made.spec["root"]["dag"]["tasks"]["refusal"]
    assert task["dependentTasks"] == ["report"]
    assert task["triggerPolicy"]["condition"] == "inputs.parameter_values['pipelinechannel--report-refusal'] == 'yes'"
    assert checks.faults(made.spec, made.platform) == []
    with pytest.raises(ProjectError, match="succeeds"):
        built("{refusal: failed}")


def test_every_step_runs_in_the_image_asked_for_and_installs_nothing(compiled: Compiled) -> None:
    assert set(re.findall(r"image: (\S+)", compiled.text)) == {IMAGE}
    assert "pip install" not in compiled.text


def test_every_parameter_has_a_description_and_a_default(compiled: Compiled) -> None:
    for name, parameter in compiled.spec["root"]["inputDefinitions"]["parameters"].items():
        assert parameter.get("description"), name
        assert parameter.get("isOptional"), name


FORM = {
    "project": "STRUCT",
    "set": "STRING",
    "data_source": "STRING",
    "evaluate_minimum": "NUMBER_DOUBLE",
    "rollout_minimum_requests": "NUMBER_INTEGER",
    "rollout_steps": "LIST",
    "train_batch_size": "NUMBER_INTEGER",
    "train_epochs": "NUMBER_INTEGER",
    "train_learning_rate": "NUMBER_DOUBLE",
}
STUDY = {k: v for k, v in FORM.items() if not k.startswith("train_")} | {"tune_trials": "NUMBER_INTEGER"}
BATCH = {"package": "STRING", "source": "STRING", "digest": "STRING", "keep": "STRING", "max_bad": "NUMBER_DOUBLE", "engine": "STRING"}


@pytest.mark.parametrize(("name", "form"), [("training", FORM), ("tuning", STUDY), ("batch_inference", BATCH)])
def test_the_form_asks_for_what_a_person_knows(name: str, form: dict[str, str], goldens: dict[str, str]) -> None:
    parameters = next(iter(yaml.safe_load_all(goldens[f"{name}.yaml"])))["root"]["inputDefinitions"]["parameters"]
    assert {k: v["parameterType"] for k, v in parameters.items()} == form
    lines = [p["description"] for p in parameters.values()] + [json.dumps(p.get("defaultValue")) for p in parameters.values()]
    assert not [line for line in lines if "\n" in line or "\\n" in line], "a browser drops line breaks"
    # The dashboard takes a parameter without a default as missing: only what nobody can know beforehand has none.
    assert {k for k, v in parameters.items() if "defaultValue" not in v} == ({"package", "source"} if name == "batch_inference" else set())


def test_the_form_shows_the_projects_own_values(compiled: Compiled) -> None:
    text = "{name: mine, task: text, data: {source: 's3://bucket/x.csv'}, train: {epochs: 7, learning_rate: 5e-5}, rollout: {steps: [5]}}"
    made = compile_training(project.parse(project.read_text(text, "text")), text=text, image=IMAGE)
    shown = {k: v["defaultValue"] for k, v in made.spec["root"]["inputDefinitions"]["parameters"].items()}
    assert (shown["data_source"], shown["train_epochs"], shown["train_learning_rate"], shown["rollout_steps"]) == (
        "s3://bucket/x.csv",
        7,
        5e-5,
        [5],
    )
    constants = tasks(made.spec)["validate-data"]["inputs"]["parameters"]["compiled"]["runtimeValue"]["constant"]
    assert constants == {k: v for k, v in shown.items() if k not in ("project", "set")}, "what is compared with is what is shown"


def test_no_step_takes_a_folder_of_this_machine_from_the_form(compiled: Compiled) -> None:
    for component in compiled.spec["components"].values():
        assert not {"pipelinechannel--base_dir", "pipelinechannel--home"} & set(component.get("inputDefinitions", {}).get("parameters", {}))
    here = json_format.MessageToDict(pipeline_here("/here/project", "/here/home").pipeline_spec)
    constants = {
        t["inputs"]["parameters"][k]["runtimeValue"]["constant"]
        for t in tasks(here).values()
        for k in ("base_dir", "home")
        if k in t["inputs"]["parameters"]
    }
    assert constants == {"/here/project", "/here/home"} and set(here["root"]["inputDefinitions"]["parameters"]) == set(FORM)


def test_a_step_that_reads_or_moves_the_world_is_never_cached(compiled: Compiled) -> None:
    found = tasks(compiled.spec)
    for name in ("validate-data", "preprocess", "evaluate", "register", "rollout"):
        assert not found[name].get("cachingOptions", {}).get("enableCache"), name
    for name in ("train", "export-onnx"):
        assert found[name]["cachingOptions"]["enableCache"], name


def test_nothing_is_answered_from_the_cache_when_the_image_is_named_by_tag() -> None:
    found = tasks(built(image="team/pipeline:1.0", allow_tag=True).spec)
    assert not [n for n, t in found.items() if t.get("cachingOptions", {}).get("enableCache")]


def key(made: Compiled, task: str) -> tuple[str, str]:
    """What of a cached task's key KFP does not fill in at run time: the image and the environment's digest."""
    constant = tasks(made.spec)[task]["inputs"]["parameters"]["environment"]["runtimeValue"]["constant"]
    return container(made, task)["image"], constant


def test_a_changed_image_or_environment_is_another_cache_key_and_more_memory_is_not(compiled: Compiled) -> None:
    image, changed = built(image=OTHER), built("{defaults: {env: {TORCH: x}}}")
    moved = built("{defaults: {resources: {limits: {memory: 16Gi}}, node_selector: {pool: big}, timeout: 3h}}")
    for task in ("train", "export-onnx"):
        assert key(image, task)[0] != key(compiled, task)[0]
        assert key(changed, task)[1] != key(compiled, task)[1]
        assert key(moved, task) == key(compiled, task)


def test_settings_of_steps_reach_their_tasks() -> None:
    made = built(
        "{defaults: {env: {A: '1'}, image_pull_secrets: [pull]}, steps: {train: {resources: {requests: {cpu: 3}, limits: {memory: 64Gi},"
        " accelerator: {type: amd.com/gpu, count: 2}}, node_selector: {pool: gpu}, tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}],"
        " secrets: [{name: s3, env: {id: AWS_ACCESS_KEY_ID}}, {name: ca, mount: /etc/ca, optional: true}],"
        " volumes: [{claim: cache, mount: /cache, sub_path: x}], retries: {count: 2, backoff: 1m}, timeout: 6h}}}"
    )
    train, extra, task = container(made, "train"), platform(made, "train"), tasks(made.spec)["train"]
    assert train["env"] == [{"name": "A", "value": "1"}]
    assert train["resources"]["resourceCpuRequest"] == "3" and train["resources"]["resourceCpuLimit"] == "4"
    assert train["resources"]["resourceMemoryLimit"] == "64Gi" and train["resources"]["resourceMemoryRequest"] == "512Mi"
    assert train["resources"]["accelerator"]["resourceType"] == "amd.com/gpu" and train["resources"]["accelerator"]["resourceCount"] == "2"
    assert task["retryPolicy"] == {"maxRetryCount": 2, "backoffDuration": "60s", "backoffFactor": 2.0, "backoffMaxDuration": "600s"}
    assert extra["activeDeadlineSeconds"] == str(6 * 3600)
    assert extra["nodeSelector"]["labels"] == {"pool": "gpu"}
    assert extra["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert extra["secretAsEnv"][0]["secretName"] == "s3" and extra["secretAsVolume"][0]["mountPath"] == "/etc/ca"
    assert extra["pvcMount"][0]["constant"] == "cache" and extra["pvcMount"][0]["subPath"] == "x"
    other = platform(made, "evaluate")
    assert set(other) == {"activeDeadlineSeconds", "fieldPathAsEnv", "securityContext", "imagePullSecret", "podMetadata"}
    assert other["fieldPathAsEnv"] == [{"name": "SLUICE_RUN_NONCE", "fieldPath": "metadata.labels['pipeline/runid']"}]
    assert container(made, "evaluate")["env"] == train["env"]
    labels = {"app.kubernetes.io/component": "step", "app.kubernetes.io/part-of": "sluice"}
    assert other["podMetadata"]["labels"] == labels
    here = platform(built("{defaults: {env: {SLUICE_NAMESPACE: team}}}"), "train")
    assert here["podMetadata"]["labels"] == {**labels, "sluice.dev/environment": "team"}


def test_the_pipeline_that_runs_here_carries_nothing_of_a_cluster() -> None:
    made = pipeline_here("/here/project", "/here/home")
    spec = json_format.MessageToDict(made.pipeline_spec)
    assert not made.platform_spec.platforms
    assert not [e for e in spec["deploymentSpec"]["executors"].values() if "resources" in e["container"] or "env" in e["container"]]
    assert not [t for t in tasks(spec).values() if "retryPolicy" in t]


def test_the_default_project_is_one_that_is_accepted(goldens: dict[str, str]) -> None:
    spec = next(iter(yaml.safe_load_all(goldens["training.yaml"])))
    default = spec["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"]
    assert project.parse(from_struct(default)).name == "digits"


def test_a_project_is_baked_in_as_the_default_and_equal_projects_compile_alike(tmp_path: Path) -> None:
    text = TEXT % "{}"
    settings = project.parse(project.read_text(text, "text"))
    one = compile_project(settings, tmp_path / "a.yaml", text=text, image=IMAGE)
    two = compile_project(settings, tmp_path / "b.yaml", text=text, image=IMAGE)
    assert one["sha256"] == two["sha256"]
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
    spec = next(iter(yaml.safe_load_all((tmp_path / "a.yaml").read_text())))
    assert spec["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"] == project.read_text(text, "text")


def test_a_project_of_odd_signs_survives_in_the_file(tmp_path: Path) -> None:
    raw = {
        "name": "mine",
        "task": "text",
        "data": {"source": "s3://bucket/x'\"{{y}}.csv"},
        "train": {"learning_rate": 5e-5, "seed": 2**60 + 1},
    }
    compile_project(project.parse(raw), tmp_path / "a.yaml", text=project.write_text(raw), image=IMAGE)
    spec, _ = yaml.safe_load_all((tmp_path / "a.yaml").read_text())
    assert from_struct(spec["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"]) == raw


def test_objects_for_kubectl_are_named_by_content(tmp_path: Path) -> None:
    text = TEXT % "{}"
    settings = project.parse(project.read_text(text, "text"))
    made = compile_project(settings, tmp_path / "k.yaml", text=text, image=IMAGE, kubernetes=True, namespace="team")
    pipeline, version = yaml.safe_load_all((tmp_path / "k.yaml").read_text())
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert {o["apiVersion"] for o in (pipeline, version)} == {"pipelines.kubeflow.org/v2beta1"}
    assert {o["metadata"]["namespace"] for o in (pipeline, version)} == {"team"}
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "mine"
    assert version["metadata"]["name"] == made["version"] == f"mine-{made['sha256'][:12]}"
    other = compile_project(settings, tmp_path / "o.yaml", text=text, image=OTHER, kubernetes=True)
    assert other["version"] != made["version"]
    assert "namespace" not in next(iter(yaml.safe_load_all((tmp_path / "o.yaml").read_text())))["metadata"]


TUNED = """
name: mine
task: text
data: {source: 's3://bucket/x.csv'}
tune: {trials: 4, parallel: 2, %s space: {train.learning_rate: {type: float, low: 1e-4, high: 1e-2, log: true}}}
cluster: {defaults: %s}
"""
VOLUME = "{volumes: [{claim: studies, mount: /studies}]}"


def test_a_tuning_pipeline_shares_its_study_and_ends_in_the_training(tmp_path: Path) -> None:
    text = TUNED % ("storage: 'journal:/studies/mine.journal',", VOLUME)
    made = compile_project(project.parse(project.read_text(text, "text")), tmp_path / "t.yaml", text=text, image=IMAGE, tune=True)
    assert (made["pipeline"], made["version"]) == ("mine-tuning", f"mine-tuning-{made['sha256'][:12]}")
    spec, other = yaml.safe_load_all((tmp_path / "t.yaml").read_text())
    assert {"preprocess", "tune-begin", "tune-trials", "tune-choose", "train", "rollout"} <= set(tasks(spec))
    root = spec["root"]["dag"]["tasks"]
    assert {t["taskInfo"]["name"] for t in root.values() if "dag" in spec["components"][t["componentRef"]["name"]]} == {"trials"}
    assert set(tasks(spec)) - set(root) == {"tune-trials"}
    executors = other["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for step in ("tune-begin", "tune-trials", "tune-choose"):
        assert [m["mountPath"] for m in executors[f"exec-{step}"]["pvcMount"]] == ["/studies"]
    assert checks.faults(spec, other) == []


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (TEXT % "{}", "tune", "not in the project"),
        (TUNED % ("", VOLUME), "tune.storage", "is not set"),
        (TUNED % ("storage: 'journal:/tmp/mine.journal',", VOLUME), "tune.storage", "on no volume of the step preprocess"),
        (TUNED % ("storage: 'sqlite:////studies/mine.db',", VOLUME), "tune.storage", "one machine"),
        (TUNED % ("", "{}, steps: {train: {env: {SLUICE_TUNE_STORAGE: 'postgresql://studies/optuna'}}}"), "tune.storage", "is not set"),
    ],
)
def test_a_project_that_cannot_be_tuned_on_a_cluster_is_told_before_anything_is_sent(text: str, field: str, said: str) -> None:
    with pytest.raises(ProjectError, match=said) as raised:
        compile_tuning(project.parse(project.read_text(text, "text")), text=text, image=IMAGE)
    assert raised.value.field == field


@pytest.mark.parametrize(
    "given", ["env: {SLUICE_TUNE_STORAGE: 'postgresql://studies/optuna'}", "secrets: [{name: studies, env: {url: SLUICE_TUNE_STORAGE}}]"]
)
def test_a_storage_may_come_from_the_steps_environment(given: str) -> None:
    text = TUNED % ("", f"{{{given}}}")
    assert compile_tuning(project.parse(project.read_text(text, "text")), text=text, image=IMAGE).name == "mine-tuning"


def spoil(made: Compiled, change: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, extra = copy.deepcopy(made.spec), copy.deepcopy(made.platform)
    train = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    more = extra["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    if change == "latest":
        train["image"] = "team/pipeline:latest"
    elif change == "tag":
        train["image"] = "team/pipeline:1"
    elif change == "memory":
        del train["resources"]["resourceMemoryLimit"], train["resources"]["memoryLimit"]
    elif change == "timeout":
        del more["activeDeadlineSeconds"]
    elif change == "retries":
        spec["root"]["dag"]["tasks"]["train"]["retryPolicy"] = {"maxRetryCount": 99}
    elif change == "root":
        del more["securityContext"]
    elif change == "privileged":
        more["securityContext"]["privileged"] = True
    return spec, extra


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("latest", "pushed last"),
        ("tag", "is a tag"),
        ("memory", "no memory limit"),
        ("timeout", "no time limit"),
        ("retries", "started again too often"),
        ("root", "may run as root"),
        ("privileged", "power over its node"),
    ],
)
def test_a_fault_in_a_compiled_pipeline_names_its_task(compiled: Compiled, change: str, message: str) -> None:
    found = checks.faults(*spoil(compiled, change))
    assert [f.task for f in found] == ["train"]
    with pytest.raises(ProjectError, match=message) as caught:
        checks.require(*spoil(compiled, change))
    assert caught.value.field == "task train"
