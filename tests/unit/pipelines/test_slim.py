"""What a step carries to a cluster is the name of its code in the image; a stranger's step keeps its source."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from kfp import dsl

from pipelines import flat
from pipelines.compiler import golden
from pipelines.slim import folder_of

ROOT = Path(__file__).parents[3]


def test_every_compiled_step_names_its_code_and_says_no_more_of_its_inputs_than_their_kinds() -> None:
    for text in golden().values():
        spec = next(d for d in yaml.safe_load_all(text) if "deploymentSpec" in d)
        for name, executor in spec["deploymentSpec"]["executors"].items():
            *command, folder = executor["container"]["command"]
            assert command == ["python3", "-m", "components"] and (ROOT / "components" / folder / "component.py").exists(), name
        assert "description" not in yaml.safe_dump([c for c in spec["components"].values() if "executorLabel" in c])
        assert all(p["description"] for p in spec["root"]["inputDefinitions"]["parameters"].values()), "the form's are for its person"


def test_a_step_of_nobodys_folder_keeps_its_source() -> None:
    @dsl.component(base_image="x", install_kfp_package=False)
    def stranger(a: int) -> int:
        return a + 1

    @dsl.pipeline(name="p")
    def whole(a: int = 1) -> None:
        stranger(a=a)

    built = flat.pipeline(whole.pipeline_func, name="p", description="d", here=False)
    command = list(built.pipeline_spec.deployment_spec["executors"]["exec-stranger"]["container"]["command"])
    assert folder_of("stranger") is None and "return a + 1" in command[-1]


def test_a_step_runs_from_its_name(tmp_path: Path) -> None:
    given = {
        "inputs": {"parameterValues": {"outcome": "refused by evaluate"}},
        "outputs": {"outputFile": str(tmp_path / "out.json")},
    }
    command = [sys.executable, "-m", "components", "report", "--executor_input", json.dumps(given), "--function_to_execute", "refusal"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode and "the run was refused by evaluate: its report says why" in ended.stdout + ended.stderr


def test_every_step_can_be_read_without_what_compiles() -> None:
    read = "; ".join(
        [
            "import importlib",
            "from kfp import dsl",
            "assert not hasattr(dsl, 'component')",
            "dsl.component = lambda **_: lambda function: function",
            *(f"importlib.import_module('components.{p.parent.name}.component')" for p in sorted(ROOT.glob("components/*/component.py"))),
        ]
    )
    subprocess.run([sys.executable, "-c", read], cwd=ROOT, env={**os.environ, "_KFP_RUNTIME": "true"}, check=True, timeout=120)
