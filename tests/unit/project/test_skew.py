"""One version back: pipelines that were compiled then run on today's image, rollouts that were begun then go on, and the other way about."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from sluice.core import files
from sluice.rollouts.state import State

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data/skew"
STEPS: dict[str, str] = files.read_json(DATA / "compiled-steps.json")


@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_step_compiled_before_calls_what_is_here(step: str) -> None:
    tree = ast.parse(STEPS[step])
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("components", "sluice")
        for alias in node.names
    }
    assert imported
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in imported:
            taken(call, *imported[call.func.id])


def taken(call: ast.Call, module: str, name: str) -> None:
    """Whether a function of today takes a call."""
    path = ROOT / (module.replace(".", "/") + ".py")
    path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
    found = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name == name]
    assert found, f"{module} has no {name}"
    a = found[0].args
    positional = [p.arg for p in (*a.posonlyargs, *a.args)]
    named = {k.arg for k in call.keywords if k.arg}
    starred = any(k.arg is None for k in call.keywords) or any(isinstance(x, ast.Starred) for x in call.args)
    assert len(call.args) <= len(positional) or a.vararg, f"{module}.{name} takes {len(positional)}"
    unknown = named - {*positional, *(p.arg for p in a.kwonlyargs)}
    assert not unknown or a.kwarg, f"{module}.{name} takes no {unknown}"
    needed = {*positional[: len(positional) - len(a.defaults)][len(call.args) :]}
    needed |= {p.arg for p, default in zip(a.kwonlyargs, a.kw_defaults, strict=True) if default is None}
    assert starred or needed <= named, f"{module}.{name} asks for {needed - named}"


def test_a_rollout_begun_by_the_controller_before_goes_on() -> None:
    raw = files.read_json(DATA / "rollout-state.json")
    state = State.from_dict(raw)
    assert not {"past", "back"} & raw.keys() and (state.past, state.back) == ((), "")
    assert (state.phase, state.stage, state.step, state.weight, state.handled) == ("Step", "collect", 1, 50, ("pause#1",))
    written = json.loads(json.dumps(state.to_dict()))
    assert {k: written[k] for k in raw} == raw  # nothing of it is lost or changed


def test_what_a_newer_controller_wrote_is_read_by_the_one_before() -> None:
    raw = {**files.read_json(DATA / "rollout-state.json"), "of_tomorrow": {"x": 1}}
    assert State.from_dict(raw) == State.from_dict(files.read_json(DATA / "rollout-state.json"))
