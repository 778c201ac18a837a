"""What `make test` leaves to `make test-all`: minutes of the same kinds that shorter tests hold already."""

from __future__ import annotations

import os

import pytest

#: Whether everything is run.
ALL = os.environ.get("SLUICE_TESTS") == "all"
long = pytest.mark.skipif(not ALL, reason="long: of `make test-all`")
