"""A linear model, fitted to all rows at once: where the network starts, and what it has to beat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

#: Strengths of the L2 penalty that are tried, and folds they are tried on, where rows are few; elsewhere the first.
STRENGTHS, FOLDS, FEW = (1.0, 10.0, 100.0, 1000.0), 5, 2000
#: The same for bags of n-grams, from strong to weak, and numbers times classes that are cheap to go through.
BAG_STRENGTHS, _CHEAP = (1.0, 0.3, 0.1), 50_000_000


def fit_linear(
    straight: Callable[..., torch.Tensor],
    parts: list[torch.Tensor],
    flat: torch.Tensor,
    codes: list[torch.Tensor],
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> None:
    """Set a linear model's parameters to those of least penalised loss: logistic or ridge regression.

    Args:
        straight: ``(flat, codes) -> [rows, outputs]``, linear in `parts`.
        parts: its parameters, the bias (which has no penalty) first; changed in place, and zero before.
        flat, codes: the rows' numbers [rows, numbers] and their categories' codes [rows] a column.
        targets: INT64 classes or FP32 values, [rows].
        weights: of the rows in the loss; None: all alike.
    """
    weights = torch.ones(len(targets)) if weights is None else weights

    def losses(keep: torch.Tensor) -> torch.Tensor:
        out = straight(flat[keep], [c[keep] for c in codes])
        wanted = targets[keep]
        each = 0.5 * (out.squeeze(1) - wanted) ** 2 if wanted.is_floating_point() else F.cross_entropy(out, wanted, reduction="none")
        return each * weights[keep]

    def put(point: torch.Tensor) -> None:
        with torch.no_grad():
            for p, part in zip(parts, point.split([p.numel() for p in parts]), strict=True):
                p.copy_(part.view_as(p))

    def solve(keep: torch.Tensor, strength: float) -> None:
        def at(point: torch.Tensor) -> tuple[float, torch.Tensor]:
            put(point)
            with torch.enable_grad():
                value = (losses(keep).sum() + 0.5 * strength * sum((p * p).sum() for p in parts[1:])) / len(keep)
                slopes = torch.autograd.grad(value, parts)
            return float(value.detach()), torch.cat([s.reshape(-1) for s in slopes]).double()

        put(minimise(at, torch.cat([p.detach().reshape(-1) for p in parts]).double()))

    everyone = torch.arange(len(targets))

    def held_out(strength: float) -> float:
        total = 0.0
        for fold in range(FOLDS):
            solve(everyone[everyone % FOLDS != fold], strength)
            with torch.no_grad():
                total += float(losses(everyone[everyone % FOLDS == fold]).sum())
        return total

    few = 2 * FOLDS <= len(targets) <= FEW
    solve(everyone, min(STRENGTHS, key=held_out) if few and len(STRENGTHS) > 1 else STRENGTHS[0])


def minimise(
    at: Callable[[torch.Tensor], tuple[float, torch.Tensor]], point: torch.Tensor, steps: int = 200, memory: int = 12, enough: float = 1e-9
) -> torch.Tensor:
    """The minimum of a smooth convex function: L-BFGS with halved steps (Liu, Nocedal 1989).

    `torch.optim` has one too, whose import takes longer than many a fit.

    Args:
        at: a point's value, about 1 at the start, and slope.
        point: where to start.
        steps: most steps.
        memory: steps whose curvature is remembered.
        enough: ends where a step gains a smaller share of the value.
    """
    value, slope = at(point)
    moves: list[torch.Tensor] = []
    turns: list[torch.Tensor] = []
    for _ in range(steps):
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
            moves, turns = [*moves, move][-memory:], [*turns, turn][-memory:]
        done = value - new < enough * max(1.0, abs(value))
        point, value, slope = there, new, turned
        if done:
            break
    return point


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


def fit_bag(
    numbers: np.ndarray, lengths: np.ndarray, weigh: np.ndarray, targets: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Logistic regression on bags of n-grams: float32 [number of weights, classes].

    A bag is the vector of its n-grams' weights, scaled to length 1 (Salton, Buckley 1988). Where that is cheap, the
    strength of the penalty is chosen on a fifth of the rows.

    Args:
        numbers: the rows' n-grams, one row after another.
        lengths: how many each row has.
        weigh: a number's weight; that of none (0) is 0.
        targets: classes, int64 [rows].
        classes: how many there are.
        weights: of the rows in the loss; None: all alike.
    """
    from scipy import sparse

    rows, size = len(lengths), len(weigh)
    data = weigh[numbers]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    norm = np.sqrt(np.maximum(np.add.reduceat(data * data, starts[:-1]), 1e-12))
    bags = sparse.csr_matrix((data / np.repeat(norm, lengths).astype(np.float32), numbers, starts), shape=(rows, size))
    weights = np.ones(rows, dtype=np.float32) if weights is None else weights.astype(np.float32)
    wanted = np.eye(classes, dtype=np.float32)[targets]

    def loss_of(outputs: np.ndarray, keep: np.ndarray) -> tuple[float, np.ndarray]:
        outputs = outputs - outputs.max(1, keepdims=True)
        chances = np.exp(outputs)
        chances /= chances.sum(1, keepdims=True)
        own = np.maximum(chances[np.arange(len(keep)), targets[keep]], 1e-30)
        return float(-(np.log(own) * weights[keep]).sum()), (chances - wanted[keep]) * weights[keep, None]

    def solve(keep: np.ndarray, strength: float, start: torch.Tensor) -> torch.Tensor:
        some = bags[keep]
        turned = some.T.tocsr()

        def at(point: torch.Tensor) -> tuple[float, torch.Tensor]:
            w = point.numpy().reshape(size, classes)
            value, slope = loss_of(some @ w, keep)
            penalty = 0.5 * strength * float((w * w).sum(dtype=np.float64))
            return (value + penalty) / len(keep), torch.from_numpy(
                (((turned @ slope) + strength * w) / len(keep)).astype(np.float32).ravel()
            )

        return minimise(at, start, steps=50, memory=5, enough=1e-5)

    everyone, best = np.arange(rows), BAG_STRENGTHS[-1]
    point = torch.zeros(size * classes)
    if rows >= 10 and bags.nnz * classes <= _CHEAP:
        found, there = [], point
        for strength in BAG_STRENGTHS:
            there = solve(everyone[everyone % 5 != 0], strength, there)
            held = everyone[everyone % 5 == 0]
            found.append((loss_of(bags[held] @ there.numpy().reshape(size, classes), held)[0], strength, there))
        _, best, point = min(found, key=lambda f: f[0])
    return solve(everyone, best, point).numpy().reshape(size, classes)


def fit_bags(numbers: np.ndarray, lengths: np.ndarray, weigh: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """`fit_bag` of each label by itself, there or not: float32 [number of weights, labels], of the log odds.

    Args:
        numbers, lengths, weigh: as for `fit_bag`.
        targets: float64 [rows, labels], 1 where a row has the label.
    """
    table = np.zeros((len(weigh), targets.shape[1]), dtype=np.float32)
    for k in range(targets.shape[1]):
        there = (targets[:, k] > 0.5).astype(np.int64)
        if 0 < there.sum() < len(there):
            both = fit_bag(numbers, lengths, weigh, there, 2)
            table[:, k] = both[:, 1] - both[:, 0]
    return table
