"""Parameters that the loss does not reach: other processes would wait for their gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch


def drop_unused(model: torch.nn.Module, loss: Callable[[], torch.Tensor], *, follow: bool) -> tuple[set[torch.nn.Module], list[str]]:
    """Take them out of training, by one pass forward and back; the model's buffers are afterwards what they were.

    Args:
        model: in training mode, without gradients.
        loss: of two rows or so, by a pass through `model`.
        follow: whether the modules the pass goes through are asked for.

    Returns:
        Those modules, empty where they are not asked for, and the names of the parameters.
    """
    called: set[torch.nn.Module] = set()
    hooks = [m.register_forward_hook(lambda module, *_: called.add(module)) for m in model.modules()] if follow else []
    buffers = list(model.buffers())
    kept = [b.clone() for b in buffers]
    loss().backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    for buffer, value in zip(buffers, kept, strict=True):
        buffer.copy_(value)
    unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    for name, p in model.named_parameters():
        p.grad = None
        if name in unused:
            p.requires_grad_(False)
    return called, unused
