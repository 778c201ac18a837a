"""A task in one file beside the project file, which touches nothing of ours; `test_together` runs it to a promoted model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_it_is_one_file_of_eighty_lines_at_most_that_imports_of_torch_nothing_to_read_data() -> None:
    assert len((HERE / "xor_task.py").read_text().splitlines()) <= 80
    code = "import sys; sys.path.insert(0, sys.argv[1]); import xor_task; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(HERE)], check=True, timeout=60)
