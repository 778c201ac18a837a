"""One graph, no boxes: conditions become conditions of tasks.

KFP's compiler puts what stands in a `dsl.If` into a DAG of its own, one layer down for each condition, under a name like
``condition-1``; a person has to open them one in another to find a step. The specification knows conditions of single tasks
too, and so do KFP's back-end (the task's driver decides, and what depends on a task that was skipped is not started) and
`kfp.local`. What is inside a condition is moved up to where it stands, and asks for itself what the group asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from kfp import dsl
from kfp.pipeline_spec import pipeline_spec_pb2 as ir

from pipelines.slim import slim

_USED = re.compile(r"inputs\.parameter_values\['([^']+)'\]")


def pipeline(function: Callable[..., Any], *, name: str, description: str, here: bool = True) -> Any:
    """The pipeline of a function that uses `dsl.If`, flat: what `dsl.pipeline` makes, to be compiled or, where it is to run `here`, called."""
    built = dsl.pipeline(name=name, description=description)(function)
    flatten(built.pipeline_spec, here=here)
    if not here:
        slim(built.pipeline_spec)
    return built


def flatten(spec: ir.PipelineSpec, *, here: bool = True) -> None:
    """Move every condition's tasks up to the DAG the condition stands in, in place. Loops and exit handlers stay.

    On a cluster nothing is started behind a task that was skipped, so only the first tasks of a group ask; `kfp.local` knows no such
    thing, and `here` every task asks.

    Raises:
        ValueError: a condition with outputs (`dsl.OneOf`, `dsl.Else`): those need their group.
    """
    _flatten_dag(spec, spec.root.dag, here)
    for name in sorted(spec.components):
        if name in spec.components and spec.components[name].WhichOneof("implementation") == "dag":
            _flatten_dag(spec, spec.components[name].dag, here)


def _flatten_dag(spec: ir.PipelineSpec, dag: ir.DagSpec, here: bool) -> None:
    moved: set[str] = set()
    while groups := [name for name, task in dag.tasks.items() if _is_condition(spec, task)]:
        for name in groups:
            moved |= _dissolve(spec, dag, name, here)
    needs = {name: set(task.dependent_tasks) | (_producers(task) if name in moved else set()) for name, task in dag.tasks.items()}
    for name in sorted(moved):
        if name in dag.tasks:
            del dag.tasks[name].dependent_tasks[:]
            dag.tasks[name].dependent_tasks.extend(
                d for d in sorted(needs[name]) if not any(d in _before(needs, o) for o in needs[name] - {d})
            )


def _is_condition(spec: ir.PipelineSpec, task: ir.PipelineTaskSpec) -> bool:
    inner = spec.components[task.component_ref.name]
    return bool(task.trigger_policy.condition) and inner.WhichOneof("implementation") == "dag" and not task.WhichOneof("iterator")


def _dissolve(spec: ir.PipelineSpec, dag: ir.DagSpec, name: str, here: bool) -> set[str]:
    """Puts what is in a group in its place; returns the names."""
    group = ir.PipelineTaskSpec()
    group.CopyFrom(dag.tasks[name])
    inner = ir.ComponentSpec()
    inner.CopyFrom(spec.components[group.component_ref.name])
    if inner.dag.HasField("outputs") or any(name in t.dependent_tasks for t in dag.tasks.values()):
        raise ValueError(f"{group.task_info.name} has outputs, or something waits for it as a whole: it cannot be a condition of its tasks")
    del dag.tasks[name]
    del spec.components[group.component_ref.name]
    asked = _USED.findall(group.trigger_policy.condition)
    for inside, task in inner.dag.tasks.items():
        assert inside not in dag.tasks, "KFP names tasks once in a pipeline"
        _lift(task.inputs.parameters, group.inputs.parameters, "component_input_parameter")
        _lift(task.inputs.artifacts, group.inputs.artifacts, "component_input_artifact")
        component = spec.components[task.component_ref.name]
        # What is done in a loop hangs on a task that has the condition, and so is not reached without it.
        first = not (set(task.dependent_tasks) | _producers(task)) & set(inner.dag.tasks)
        if (here or first) and not task.WhichOneof("iterator") and not _implied(task, inner.dag, asked):
            for parameter in asked:
                task.inputs.parameters[parameter].CopyFrom(group.inputs.parameters[parameter])
                definition = component.input_definitions.parameters[parameter]
                definition.CopyFrom(inner.input_definitions.parameters[parameter])
                definition.is_optional = True
            both = (group.trigger_policy.condition, task.trigger_policy.condition)
            task.trigger_policy.condition = " && ".join(c for c in both if c)
        dag.tasks[inside].CopyFrom(task)
    return set(inner.dag.tasks)


def _before(needs: dict[str, set[str]], name: str) -> set[str]:
    """Every task that ends before this one starts."""
    return needs[name] | {b for n in needs[name] for b in _before(needs, n)}


def _implied(task: ir.PipelineTaskSpec, group: ir.DagSpec, asked: list[str]) -> bool:
    """Whether the task's own condition asks a task of the same group: that one has run only where the group's holds."""
    own = [p for p in _USED.findall(task.trigger_policy.condition) if p not in asked]
    return any(_producer(task.inputs.parameters[p]) in group.tasks for p in own)


def _lift(inputs: Message, given: Message, kind: str) -> None:
    """Inputs that the group handed down become what the group itself was given."""
    for key in list(inputs):  # type: ignore[attr-defined]
        if inputs[key].WhichOneof("kind") == kind:  # type: ignore[index]
            outer = given[getattr(inputs[key], kind)]  # type: ignore[index]
            selector = getattr(inputs[key], "parameter_expression_selector", "")  # type: ignore[index]
            inputs[key].CopyFrom(outer)  # type: ignore[index]
            if selector:
                inputs[key].parameter_expression_selector = selector  # type: ignore[index]


def _producer(item: ir.TaskInputsSpec.InputParameterSpec) -> str:
    return str(item.task_output_parameter.producer_task)


def _producers(task: ir.PipelineTaskSpec) -> set[str]:
    artifacts = {str(i.task_output_artifact.producer_task) for i in task.inputs.artifacts.values()}
    return (artifacts | {_producer(i) for i in task.inputs.parameters.values()}) - {""}
