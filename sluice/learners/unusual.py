"""What every model of the unusual goes by: which labels say so, from which rows it learns, and where its threshold lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from sluice.core.errors import DataError
from sluice.core.section import Section

if TYPE_CHECKING:
    import numpy as np

#: Fewer rows than this have no distribution to be unusual in.
FEWEST = 20


class UnusualModel(Section):
    """Settings of `model:` that all models of the task `anomaly` share."""

    contamination: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="share of the rows learnt from that are taken for anomalies: their most unusual; it sets the threshold",
    )
    anomalous: list[str] | None = Field(
        None,
        min_length=1,
        description="label values that mean an anomaly; null: words and numbers for it, such as anomaly, outlier, true, 1 (or -1 beside 1)",
    )
    normal: list[str] | None = Field(
        None, min_length=1, description="label values that mean a normal row; null: what is not anomalous, or words and numbers for it"
    )
    rows: Literal["normal", "all"] = Field("normal", description="where there are labels, whether anomalies are learnt from too")

    @field_validator("anomalous", "normal", mode="before")
    @classmethod
    def _as_labels_are_spelt(cls, values: Any) -> Any:
        from sluice.core.spelling import value_text

        values = [values] if isinstance(values, str | bool | int | float) else values
        return [value_text(v) if isinstance(v, bool | int | float) else v for v in values] if isinstance(values, list) else values


def learnt_from(targets: np.ndarray, rows: str) -> np.ndarray:
    """The training rows a model learns from: bool [rows].

    Args:
        targets: indices into `LABELS` of sluice.problems.anomaly.
        rows: the setting.

    Raises:
        DataError: they are too few.
    """
    import numpy as np

    from sluice.problems.anomaly import LABELS, NORMAL

    chosen = np.ones(len(targets), dtype=bool) if rows == "all" else np.asarray(targets) == LABELS.index(NORMAL)
    if chosen.sum() < FEWEST:
        raise DataError(
            "are too few to tell what is unusual",
            field="training rows to learn from",
            value=int(chosen.sum()),
            fix=f"give at least {FEWEST} normal rows, or smaller fractions in data.split",
        )
    return chosen
