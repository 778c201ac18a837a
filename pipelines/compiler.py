"""`sluice compile`: a project as KFP IR YAML."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler

from pipelines.training import training_pipeline
from sluice import files
from sluice.project import Project

GOLDEN = Path(__file__).parent / "compiled"


def compile_pipeline(pipeline: Callable[..., Any], parameters: dict[str, str] | None = None) -> str:
    """A pipeline's IR, as YAML text; `parameters` become its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path), pipeline_parameters=parameters or {})
        return path.read_text()


def compile_project(project: Project, out: Path, *, text: str) -> dict[str, Any]:
    """Write the training pipeline with the project baked in as its default parameter.

    Args:
        project: the checked project.
        out: the file to write.
        text: the project as YAML or JSON text, overrides applied.

    Returns:
        Where it was written, its pipeline's name and content hash.
    """
    ir = compile_pipeline(training_pipeline, {"project": text})
    files.write_text(out, ir)
    return {"file": str(out), "pipeline": "sluice-training", "project": project.name, "sha256": hashlib.sha256(ir.encode()).hexdigest()}


def write_golden() -> None:
    """Refresh the checked-in compiled pipelines."""
    files.write_text(GOLDEN / "training.yaml", compile_pipeline(training_pipeline))


if __name__ == "__main__":
    write_golden()
