"""Imports of what is large, one thread at a time.

Two threads that import packages with parts in common (mlflow and the Kubernetes client both bring requests) may each wait for a module that the
other one holds. Python lets one of them go on with a module that is half made, and the import fails with "partially initialized module" where
everything is installed (https://docs.python.org/3/library/importlib.html#importlib.import_module, python/cpython#83065).
"""

from __future__ import annotations

import threading

#: Held for the length of such an import: ``with ONE_AT_A_TIME: import mlflow``.
ONE_AT_A_TIME = threading.RLock()
