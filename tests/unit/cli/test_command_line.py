"""The command line: what it prints, where, and the exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from sluice import project
from sluice.cli import main


@pytest.mark.parametrize("task", ["image", "text", "tabular"])
def test_init_writes_a_project_the_parser_accepts(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "My Model"), "--task", task]) == 0
    path = tmp_path / "My Model" / "sluice.yaml"
    found = project.load(path)
    assert (found.name, found.task) == ("my-model", task)
    assert "sluice run" in capsys.readouterr().out
    if "://" not in found.data.source:
        assert (path.parent / found.data.source).exists()


IMAGE = "registry.example/sluice/pipeline@sha256:" + "0" * 64


def test_init_never_overwrites_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path), "--task", "image", "--name", "first"])
    assert main(["init", str(tmp_path), "--task", "text"]) == 2
    assert "there is a project already" in capsys.readouterr().err
    assert project.load(tmp_path / "sluice.yaml").name == "first"


@pytest.mark.parametrize("name", ["Bad Name", "a\\1", 'q"', "-x"])
def test_init_with_a_bad_name_leaves_nothing_behind(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "p"), "--task", "image", f"--name={name}"]) == 2
    assert not (tmp_path / "p").exists()


def test_a_word_that_yaml_1_1_reads_as_a_boolean_is_a_name(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "--task", "image", "--name", "no"]) == 0
    assert project.load(tmp_path / "sluice.yaml").name == "no"


def test_a_folder_named_like_the_model_is_not_taken_for_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["init", "my-model", "--task", "text"])
    assert main(["serve", "my-model"]) == 2
    assert "nothing was run in this home yet" in capsys.readouterr().err, "the champion was looked for"


def test_compile_onto_a_directory_is_an_error_with_a_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path), "--task", "image", "--name", "digits"])
    assert main(["compile", str(tmp_path / "sluice.yaml"), "-o", str(tmp_path), "--image", IMAGE, "--unchecked"]) == 2
    assert "--output" in capsys.readouterr().err


def test_init_of_an_unknown_task_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path), "--task", "images"]) == 2
    assert "did you mean 'image'" in capsys.readouterr().err


def test_schema_is_one_json_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "train" in orjson.loads(capsys.readouterr().out)["properties"]


def test_errors_go_to_stderr_and_to_the_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sluice.yaml").write_text("{name: a, task: image, data: {source: x}, train: {epoch: 1}}")
    assert main(["run", str(tmp_path / "sluice.yaml"), "--json"]) == 2
    said = capsys.readouterr()
    assert "did you mean 'epochs'" in said.err
    found = orjson.loads(said.out)
    assert (found["field"], found["exit_code"]) == ("sluice.yaml: train.epoch", 2)


def test_compile_writes_ir_for_the_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path), "--task", "image", "--name", "digits"])
    capsys.readouterr()
    assert (
        main(
            [
                "compile",
                str(tmp_path / "sluice.yaml"),
                "-o",
                str(tmp_path / "p.yaml"),
                "--set",
                "train.epochs=7",
                "--image",
                IMAGE,
                "--unchecked",
                "--json",
            ]
        )
        == 0
    )
    assert len(orjson.loads(capsys.readouterr().out)["sha256"]) == 64
    spec = next(iter(yaml.safe_load_all((tmp_path / "p.yaml").read_text())))
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert form["project"]["defaultValue"]["train"]["epochs"] == form["train_epochs"]["defaultValue"] == 7


@pytest.mark.parametrize("command", [["models"], ["history"], ["compare", "a@1", "b@1"], ["serve", "digits"]])
def test_an_empty_home_is_said_to_be_empty(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*command, "--home", str(tmp_path / "none")])
    assert code == (0 if command == ["history"] else 2)
    if code:
        assert "nothing was run in this home yet" in capsys.readouterr().err


def test_python_m_sluice_is_the_same_command() -> None:
    out = subprocess.run([sys.executable, "-m", "sluice", "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.startswith("sluice 0.")


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = "import sys, sluice.cli; sluice.cli.parser(); print([m for m in ('torch', 'mlflow', 'kfp', 'pandas', 'pyarrow') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_a_wheel_without_the_checkout_says_what_a_command_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.metadata

    (tmp_path / "sluice.yaml").write_text("{name: a, task: image, data: {source: x}}")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: ())
    assert main(["run", str(tmp_path / "sluice.yaml")]) == 2
    assert "git clone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/srv/a.csv"), "sluice: /srv/a.csv: permission denied\n  fix: give it to your user, or name another place"),
        (OSError(28, "No space left on device"), "sluice: no space left on device\n  fix: free some space"),
        (IsADirectoryError(21, "Is a directory", b"/srv"), "is a directory\n  fix: name a file, not a folder"),
        (TimeoutError("timed out"), "sluice: timed out\n"),
        (ConnectionResetError(), "sluice: ConnectionResetError\n"),
    ],
)  # fmt: skip
def test_what_a_system_answers_is_an_error_like_any_other(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(args: object) -> int:
        raise error

    monkeypatch.setattr("sluice.cli._handler", lambda name: fails)
    assert main(["schema", "--json"]) == 1
    told = capsys.readouterr()
    assert said in told.err and orjson.loads(told.out)["outcome"] == "failed"
