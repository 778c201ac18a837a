"""A compiled step without its docstring, which KFP has taken its descriptions from already.

A step's source stands three times or more in the status of its run's Workflow. Argo packs a status of more than a mebibyte, and what is packed
Kubeflow Pipelines does not read: the run's page then shows its tasks as they were, for good.
"""

from __future__ import annotations

import ast

from kfp.pipeline_spec import pipeline_spec_pb2 as ir


def slim(spec: ir.PipelineSpec) -> None:
    """Take the docstring out of the source of every step of a pipeline, in place."""
    for executor in spec.deployment_spec["executors"].values():
        command = executor["container"]["command"]
        command[len(command) - 1] = without_docstring(command[len(command) - 1])


def without_docstring(source: str) -> str:
    """A module's source whose functions have no docstring; what is no Python, and a function of nothing else, stays as it is."""
    try:
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError:
        return source
    lines = source.split("\n")
    for function in reversed(functions):
        first = function.body[0]
        if ast.get_docstring(function) is not None and len(function.body) > 1:
            assert first.end_lineno is not None
            del lines[first.lineno - 1 : first.end_lineno]
    return "\n".join(lines)
