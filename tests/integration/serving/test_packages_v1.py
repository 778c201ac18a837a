"""A server of today on packages of v1: what clients got then, they get now."""

from __future__ import annotations

import numpy as np
import pytest

from tests.integration.serving.server import serving
from tests.unit.packaging.packages_v1 import CLOSE, NAMES, kept


@pytest.fixture(scope="module")
def old_server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("v1") / "log", *(kept(n).root for n in NAMES)) as s:
        yield s


@pytest.mark.parametrize("name", NAMES)
def test_an_old_package_is_served_as_it_was(old_server, name):
    old = kept(name)
    rows = [{"b64": row} for row in old.rows] if name == "digits" else old.rows
    found = old_server.predict(name, *rows)
    assert old_server.get(f"/v2/models/{name}")["versions"] == [old.digest[:12]]
    if old.labels is None:
        np.testing.assert_allclose([p["value"] for p in found], old.answers, rtol=CLOSE)
    else:
        assert [p["label"] for p in found] == old.labels
        given = [max(p["probabilities"].values()) for p in found]
        np.testing.assert_allclose(given, old.answers.max(axis=1), rtol=CLOSE, atol=CLOSE)
