"""A model's outputs over a whole split, dealt out over the processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from sluice.learners.state import State
from sluice.learners.torch.distributed import World
from sluice.learners.torch.encode import Encoded
from sluice.learners.torch.network import Network
from sluice.learners.torch.plan import Plan
from sluice.problems import metrics
from sluice.problems.answers import Answers
from sluice.problems.problem import problem


def order_by_length(data: Encoded) -> np.ndarray:
    """Row indices with like lengths together, int64 [rows]."""
    return np.arange(data.rows) if data.lengths is None else np.argsort(data.lengths, kind="stable")


def batches(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """`rows` in parts of `size`, in their order."""
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def run_split(
    network: Network,
    state: State,
    model: torch.nn.Module,
    data: Encoded,
    world: World,
    *,
    batch_size: int,
    train: Plan | None = None,
    autocast: Callable[[], Any] | None = None,
    beat: Callable[[], None] = lambda: None,
    together: bool = False,
) -> tuple[np.ndarray | None, float]:
    """Probabilities [rows, labels] or values [rows], float64 in the split's order, and the mean loss.

    Args:
        network, state: of the model.
        model: the bare model; it is left in the mode it was in.
        data: the split.
        world: the processes; the outputs arrive at the first, None at the others.
        batch_size: rows a forward pass.
        train: for the loss; without it the loss is NaN.
        autocast: context of the forward pass; FP32 without it.
        beat: called after each batch.
        together: the processes make the same number of forward passes, as a sharded model needs it.
    """
    # A sharded model's gathered parameters must not become inference tensors: training goes on with them.
    with torch.no_grad() if together else torch.inference_mode():
        return _run_split(network, state, model, data, world, batch_size, train, autocast, beat, together)


def _run_split(
    network: Network,
    state: State,
    model: torch.nn.Module,
    data: Encoded,
    world: World,
    batch_size: int,
    train: Plan | None,
    autocast: Callable[[], Any] | None,
    beat: Callable[[], None],
    together: bool,
) -> tuple[np.ndarray | None, float]:
    raw: list[torch.Tensor] = []
    training = model.training
    serving = network.judged_module(model, state).eval()
    hook = model.register_forward_hook(lambda _, __, out: raw.append(out))
    order = order_by_length(data)
    mine = order[world.rank :: world.size]
    outputs, loss = [], 0.0
    work = list(batches(mine, batch_size))
    most = math.ceil(data.rows / world.size)  # rows of the process that has most
    rounds = math.ceil(most / batch_size) if together else len(work)
    try:
        for number in range(rounds):
            rows, counted = (work[number], True) if number < len(work) else (order[:1], False)
            tensors = {k: v.to(world.device) for k, v in network.tensors(data.batch(rows), state).items()}
            raw.clear()
            with autocast() if autocast else torch.autocast(world.device.type, enabled=False):
                answers = serving(**tensors).float()
                if counted:
                    outputs.append(answers)
                if counted and train is not None:
                    targets = network.targets(np.asarray(data.labels[rows]), state).to(world.device)
                    found = raw[-1] if raw else model(**network.learning(tensors, targets))
                    loss += float(network.loss(found, targets, train)) * len(rows)
            beat()
    finally:
        hook.remove()
        model.train(training)
    width = state.problem.width(state.labels)
    part = torch.cat(outputs) if outputs else torch.zeros((0, *width), device=world.device)
    whole = world.gather_rows(part, data.rows)
    total = world.sum(loss)[0] / data.rows if train is not None else float("nan")
    if whole is None:
        return None, total
    back = np.empty((data.rows, *part.shape[1:]), dtype=np.float64)
    back[order] = whole.cpu().numpy()
    return back, total


def undefined(metric: str, objective: str, targets: np.ndarray, labels: int, positive: int | None) -> str:
    """Why a metric has no value on such rows, whatever is answered; empty where it has one, also where it depends on the answers (precision)."""
    if not problem(objective).classes or metric in ("loss", "precision"):
        return ""
    found, targets = problem(objective).metrics()[metric], np.asarray(targets)
    any_ = Answers.of(np.eye(labels)[np.arange(len(targets)) % labels], targets, positive=positive)
    return "" if np.isfinite(found.value(any_)) else found.why(any_)


def measure(state: State, outputs: np.ndarray, targets: np.ndarray, positive: int | None = None) -> dict[str, float]:
    """The metrics of `run_split`'s outputs, those of the positive label (its index) too where there is one; NaN where one is not defined."""
    names = metrics.names(state.objective, positive=positive is not None)
    if not np.isfinite(outputs).all():
        return dict.fromkeys(names, float("nan"))
    asked = state.problem
    if asked.classes or asked.scalar:
        a = Answers.of(outputs, np.asarray(targets), positive=positive)
    else:
        a = asked.answers(outputs, np.asarray(targets), state.labels)
    return {name: metric.value(a) for name, metric in asked.metrics().items() if name in names}
