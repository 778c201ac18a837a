"""The bench of the line's own cost reads the clock from kfp.local's log."""

from __future__ import annotations

from tests.bench.overhead import walls

LOG = """20:32:37.418 - INFO - Running pipeline: \x1b[95m'sluice-training'\x1b[0m
20:32:37.500 - INFO - Executing task \x1b[96m'validate-data'\x1b[0m
    20:32:38.000 - INFO - Task 'validate-data' finished: a line of the step's own
20:32:39.750 - INFO - Task \x1b[96m'validate-data'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
20:32:39.760 - INFO - Task \x1b[96m'validate-data'\x1b[0m outputs:
23:59:59.500 - INFO - Executing task \x1b[96m'train'\x1b[0m
00:00:01.500 - INFO - Task \x1b[96m'train'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
00:00:02.000 - INFO - Executing task \x1b[96m'export-onnx'\x1b[0m
"""


def test_seconds_by_step_from_its_beginning_to_its_end() -> None:
    assert walls(LOG) == {"validate_data": 2.25, "train": 2.0}
