"""Thresholds of trees in the precision of the rows."""

from __future__ import annotations

import numpy as np


def down(values: np.ndarray) -> np.ndarray:
    """The largest FP32 numbers that are not above the FP64 ones, as FP64."""
    near = values.astype(np.float32)
    return np.where(near.astype(np.float64) > values, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float64)
