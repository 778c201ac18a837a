"""Student's t.

References:
    Wallace: Bounds on normal approximations to Student's and the chi-square distributions (Annals of Mathematical Statistics 30, 1959).
"""

from __future__ import annotations

import math


def t_within(t: float, df: int) -> float:
    """P(|T| <= t) by the finite sums of Abramowitz, Stegun 26.7.3 and 26.7.4.

    Args:
        t: at least 0.
        df: degrees of freedom, at least 1.
    """
    angle = math.atan(t / math.sqrt(df))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, cosine if df > 1 else 0.0) if df % 2 else (1.0, 1.0)
    for k in range(3 if df % 2 else 2, df - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if df % 2 else sine * total


def t_quantile(confidence: float, df: int) -> float:
    """The t with P(|T| <= t) = `confidence`, by bisection. Raises `ValueError` outside 0 < confidence < 1, df >= 1."""
    if not 0 < confidence < 1 or df < 1:
        raise ValueError(f"confidence {confidence} must be between 0 and 1, degrees of freedom {df} at least 1")
    low, high = 0.0, 1.0
    while t_within(high, df) < confidence:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, df) < confidence else (low, middle)
    return high


def student(z: float, df: float) -> float:
    """The t that has about the tail of a normal's z, for any degrees of freedom of at least 1 (Wallace 1959; within 2 % from 6 on, too large below)."""
    if math.isinf(df):
        return z
    w = z * (8 * df + 3) / (8 * df + 1)
    return math.sqrt(df * math.expm1(min(w * w / df, 200.0)))
