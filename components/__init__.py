"""Steps of the pipelines, a folder each: `component.py` is the KFP face, `logic.py` the work."""

import time

#: When this process began on its step: importing torch and the like is part of the step's own work.
STARTED = time.perf_counter()
