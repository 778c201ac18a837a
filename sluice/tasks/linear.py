"""A linear model of a table's rows, fitted to all of them at once: where the network starts, and what it has to beat."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

#: Strengths of the L2 penalty that are tried, and folds they are tried on, where rows are few; elsewhere the first.
STRENGTHS, FOLDS, FEW = (1.0, 10.0, 100.0, 1000.0), 5, 2000
_STEPS = 200
_MEMORY = 12


def fit_linear(straight: Callable[..., torch.Tensor], parts: list[torch.Tensor], flat: torch.Tensor, codes: list[torch.Tensor], targets: torch.Tensor,
               weights: torch.Tensor | None = None) -> None:  # fmt: skip
    """Set a linear model's parameters to those of least penalised loss: logistic or ridge regression.

    Args:
        straight: ``(flat, codes) -> [rows, outputs]``, linear in `parts`.
        parts: its parameters, the bias (which has no penalty) first; changed in place, and zero before.
        flat, codes: the rows' numbers [rows, numbers] and their categories' codes [rows] a column.
        targets: INT64 classes or FP32 values, [rows].
        weights: of the rows in the loss; None: all alike.
    """
    rows = len(targets)
    strengths = STRENGTHS if rows <= FEW and rows >= 2 * FOLDS else STRENGTHS[:1]
    weights = torch.ones(rows) if weights is None else weights

    def losses(keep: torch.Tensor) -> torch.Tensor:
        out = straight(flat[keep], [c[keep] for c in codes])
        wanted = targets[keep]
        each = 0.5 * (out.squeeze(1) - wanted) ** 2 if wanted.is_floating_point() else F.cross_entropy(out, wanted, reduction="none")
        return each * weights[keep]

    def solve(keep: torch.Tensor, strength: float) -> None:
        minimise(lambda: losses(keep).sum() + 0.5 * strength * sum((p * p).sum() for p in parts[1:]), parts, 1.0 / len(keep))

    best = strengths[0]
    if len(strengths) > 1:
        everyone = torch.arange(rows)
        found = []
        for strength in strengths:
            total = 0.0
            for fold in range(FOLDS):
                solve(everyone[everyone % FOLDS != fold], strength)
                with torch.no_grad():
                    total += float(losses(everyone[everyone % FOLDS == fold]).sum())
            found.append(total)
        best = strengths[min(range(len(found)), key=found.__getitem__)]
    solve(torch.arange(rows), best)


def minimise(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor], scale: float) -> None:
    """Bring parameters to the minimum of a smooth convex loss: L-BFGS with halved steps (Liu, Nocedal 1989).

    `torch.optim` has one too, whose import takes longer than many a fit.

    Args:
        loss: of the parameters as they are.
        parameters: where to start; changed in place.
        scale: what the loss is multiplied by, so that it is about 1.
    """

    def at(point: torch.Tensor) -> tuple[float, torch.Tensor]:
        with torch.no_grad():
            for p, part in zip(parameters, point.split([p.numel() for p in parameters]), strict=True):
                p.copy_(part.view_as(p))
        with torch.enable_grad():
            value = loss() * scale
            slopes = torch.autograd.grad(value, parameters)
        return float(value.detach()), torch.cat([s.reshape(-1) for s in slopes]).double()

    point = torch.cat([p.detach().reshape(-1) for p in parameters]).double()
    value, slope = at(point)
    moves: list[torch.Tensor] = []
    turns: list[torch.Tensor] = []
    for _ in range(_STEPS):
        if float(slope.abs().max()) < 1e-6:
            break
        direction = _direction(slope, moves, turns)
        length, down = 1.0, float(slope @ direction)
        for _ in range(25):
            there = point - length * direction
            new, turned = at(there)
            if new <= value - 1e-4 * length * down:
                break
            length *= 0.5
        else:
            break
        move, turn = there - point, turned - slope
        if float(move @ turn) > 1e-14:
            moves, turns = [*moves, move][-_MEMORY:], [*turns, turn][-_MEMORY:]
        done = value - new < 1e-9 * max(1.0, abs(value))
        point, value, slope = there, new, turned
        if done:
            break
    at(point)


def _direction(slope: torch.Tensor, moves: list[torch.Tensor], turns: list[torch.Tensor]) -> torch.Tensor:
    """The slope times the inverse curvature the last moves have shown (two-loop recursion)."""
    q = slope.clone()
    shares = []
    for move, turn in zip(reversed(moves), reversed(turns), strict=True):
        shares.append(float(move @ q) / float(move @ turn))
        q -= shares[-1] * turn
    q *= float(moves[-1] @ turns[-1]) / float(turns[-1] @ turns[-1]) if moves else 1.0 / max(1.0, float(slope.abs().sum()))
    for move, turn, share in zip(moves, turns, reversed(shares), strict=True):
        q += move * (share - float(turn @ q) / float(move @ turn))
    return q
