"""Noise of seeds, inside the graph: a counter-based generator of whole numbers that every engine computes alike.

A number is a block cipher's answer to its counter, with the seed as key (Salmon et al.: Parallel random numbers: as easy as 1, 2, 3, SC
2011). The cipher is one of additions and fifth powers modulo the prime 2^31 - 1, as MiMC's (Albrecht et al., ASIACRYPT 2016): all its
products fit 63 bits, and fifth powers modulo that prime are a permutation, since 5 does not divide it less one. Nothing here is secret;
it has to be even, and independent from seed to seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

PRIME = (1 << 31) - 1
#: What is added before each fifth power, beside half of the seed: digits of pi after the point, eight hexadecimal ones each, modulo the prime.
ROUNDS = tuple(n % PRIME for n in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89))


class Chance(nn.Module):
    """A seed to standard normal noise and, where a row names no class, to a class.

    Args:
        size: numbers of noise a row.
        shares: of each class among the training rows; empty where there are none.
    """

    def __init__(self, size: int, shares: Sequence[float]):
        super().__init__()
        self.size, self.classes = size, len(shares)
        self.pairs = (size + 1) // 2
        self.register_buffer("counters", torch.arange(2 * self.pairs + 1), persistent=False)
        borders = torch.tensor(list(shares) or [1.0], dtype=torch.float64).cumsum(0)
        self.register_buffer("borders", (borders / borders[-1])[:-1].float(), persistent=False)

    def forward(self, high: torch.Tensor, low: torch.Tensor, given: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise FP32 [rows, size] and classes INT64 [rows].

        Args:
            high, low: the halves of the seeds, FP32 [rows, 1].
            given: the classes that rows name, INT64 [rows, 1]; one that is below 0 is drawn. None where there are no classes.
        """
        even = numbers(high.long(), low.long(), self.counters)
        size = torch.sqrt(-2 * torch.log(even[:, : self.pairs]))
        angle = 2 * math.pi * even[:, self.pairs : 2 * self.pairs]
        noise = torch.cat([size * torch.cos(angle), size * torch.sin(angle)], dim=1)[:, : self.size]  # Box, Muller 1958
        drawn = (even[:, -1:] > self.borders).sum(dim=1)
        return noise, drawn if given is None else torch.where(given[:, 0] < 0, drawn, given[:, 0])


def numbers(high: torch.Tensor, low: torch.Tensor, counters: torch.Tensor) -> torch.Tensor:
    """Even numbers in (0, 1]: FP32 [rows, counters] of the halves of seeds INT64 [rows, 1] and counters INT64 [counters]."""
    x = counters[None, :] + torch.zeros_like(low)
    for number, constant in enumerate(ROUNDS):
        x = (x + (low if number % 2 else high) + constant) % PRIME
        square = x * x % PRIME
        x = square * square % PRIME * x % PRIME
    return (x.double() + 0.5).float() / PRIME
