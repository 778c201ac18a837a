"""How near two graphs' answers to the same rows are: what the export's proof and the checks of formats ask a problem.

Here is what holds for any numbers; a problem whose answers are labels, ranks or rewards says for itself what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from sluice.problems.decision import Rule

#: Of the deviation: values as near as this are the same answer.
CLOSE = 0.01


class Closeness:
    """What of a problem tells how far two graphs' answers to the same rows are apart.

    Attributes:
        answer_change: how far a smaller format's answer may be off, where the project does not say.
        changes: what `change` is a share of, where the numbers of an answer themselves tell nothing; else "".
    """

    answer_change: ClassVar[float]
    changes: ClassVar[str] = ""

    def apart(self, outputs: np.ndarray, others: np.ndarray) -> float:
        """The largest difference of two graphs' answers to the same rows, in what `scale` is of. Default: of any number of them."""
        import numpy as np

        return float(np.abs(outputs.astype(np.float64) - others).max())

    def scale(self, reference: np.ndarray) -> float:
        """What differences of such answers are relative to. Default: their standard deviation, or their size where they do not vary."""
        import numpy as np

        return float(np.std(reference, dtype=np.float64)) or float(np.abs(reference).max()) or 1.0

    def change(self, outputs: np.ndarray, base: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """How far each row's answer is from another graph's, float64 [rows], in what `answer_change` is of. Default: the part that moved most."""
        import numpy as np

        moved: np.ndarray = np.abs(outputs.astype(np.float64) - base).reshape(len(outputs), -1).max(axis=1)
        return moved / self.scale(base)

    def agreement(self, outputs: np.ndarray, others: np.ndarray, labels: Sequence[str], rule: Rule | None, reference: np.ndarray) -> float:
        """The share of rows with the same answer. Default: no part of which differs by more than a hundredth of the reference's `scale`."""
        import numpy as np

        far = np.abs(outputs.astype(np.float64) - others).reshape(len(outputs), -1).max(axis=1)
        return float((far <= CLOSE * self.scale(reference)).mean())
