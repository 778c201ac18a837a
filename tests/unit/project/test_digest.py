"""The config's version of a project that ran stays what it was: what settings are added later say nothing where they are not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.project import load

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("example", "digest"),
    [("digits", "7d1da59a9c57fa31"), ("intents", "b208b251dd5ec433"), ("breast_cancer", "ca775280a4939a6a")],
)
def test_an_examples_digest_is_what_it_was_when_the_first_packages_were_made_of_it(example, digest):
    assert load(EXAMPLES / example / "sluice.yaml").digest[:16] == digest
