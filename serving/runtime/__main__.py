"""``python -m serving.runtime PACKAGE ...``: the model server."""

from __future__ import annotations

import sys

from serving.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
