"""Compiled steps as short as they can be said: the image's own code in place of its source, and what each input is for left to the docs.

What is compiled of a step stands six times or more in the status of its run's Workflow, as JSON inside JSON. Argo packs a status of more than a
mebibyte, and what is packed Kubeflow Pipelines does not read: the run's page then shows its tasks as they were, for good.
`pipelines.size` says what a run comes to.
"""

from __future__ import annotations

import re
import sys

from kfp.pipeline_spec import pipeline_spec_pb2 as ir

#: The place of a step's code in every image that runs steps.
_COMPONENT = re.compile(r"components\.(\w+)\.component$")


def slim(spec: ir.PipelineSpec) -> None:
    """Shorten every step of a pipeline, in place. A step whose code is in no image of ours keeps its source."""
    for executor in spec.deployment_spec["executors"].values():
        container = executor["container"]
        arguments = list(container["args"])
        folder = folder_of(arguments[arguments.index("--function_to_execute") + 1]) if "--function_to_execute" in arguments else None
        if folder:
            container["command"] = ["python3", "-m", "components", folder]
    given = _given(spec)
    for name, component in spec.components.items():
        if component.WhichOneof("implementation") == "executor_label":
            for definitions in (component.input_definitions, component.output_definitions):
                for definition in (*definitions.parameters.values(), *definitions.artifacts.values()):
                    definition.description = ""
            inputs = component.input_definitions.parameters
            for key in [k for k, definition in inputs.items() if definition.is_optional and k not in given[name]]:
                del inputs[key]


def _given(spec: ir.PipelineSpec) -> dict[str, set[str]]:
    """By component, the parameters that some task gives it; what is left out takes its default."""
    found: dict[str, set[str]] = {name: set() for name in spec.components}
    for dag in (spec.root.dag, *(c.dag for c in spec.components.values() if c.WhichOneof("implementation") == "dag")):
        for task in dag.tasks.values():
            found[task.component_ref.name] |= set(task.inputs.parameters)
    return found


def folder_of(function: str) -> str | None:
    """The folder of `components` whose step a function is; null: of none that was imported."""
    found = ((_COMPONENT.match(name), module) for name, module in list(sys.modules.items()))
    return next((m[1] for m, module in found if m and getattr(getattr(module, function, None), "python_func", None)), None)
