"""Which image the steps of a compiled pipeline run in."""

from __future__ import annotations

import pytest

from pipelines.compiler import image_of
from sluice.core.errors import ProjectError
from tests.unit.pipelines.test_compiled import OTHER


@pytest.mark.parametrize(
    ("image", "allow_tag", "message"),
    [
        ("team/pipeline", True, "pushed last"),
        ("team/pipeline:latest", True, "pushed last"),
        ("team/pipeline:1.0", False, "is a tag"),
        ("team/pipeline@sha256:abc", True, "no image reference"),
        ("Team Pipeline", True, "no image reference"),
        (None, True, "no image was given"),
    ],
)
def test_an_image_that_may_change_is_refused_with_the_fix(
    image: str | None, allow_tag: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_PIPELINE_IMAGE", raising=False)
    with pytest.raises(ProjectError, match=message) as caught:
        image_of(image, allow_tag=allow_tag)
    assert "sha256:" in str(caught.value.fix)


def test_the_image_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_PIPELINE_IMAGE", OTHER)
    assert image_of(None, allow_tag=False) == OTHER
    assert image_of("kind/image:1", allow_tag=True) == "kind/image:1"
