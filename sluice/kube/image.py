"""References to container images: by digest, or by a tag that may come to mean something else."""

from __future__ import annotations

import re

from sluice.core.errors import ProjectError

_NAME = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d+)?"
_REFERENCE = re.compile(rf"^({_HOST}/)?{_NAME}(/{_NAME})*(?P<tag>:[\w][\w.-]{{0,127}})?(?P<digest>@sha256:[0-9a-f]{{64}})?$")


def is_pinned(reference: str) -> bool:
    """Whether a reference names its image by digest, so that it can never mean another one."""
    match = _REFERENCE.match(reference)
    return bool(match and match["digest"])


def fault(reference: str, *, allow_tag: bool = False) -> tuple[str, str] | None:
    """What is wrong with a reference and how to mend it; null when it may be used."""
    match = _REFERENCE.match(reference)
    by_digest = (
        "name it by digest: registry/sluice/pipeline@sha256:<64 hex digits>, as `docker inspect -f '{{index .RepoDigests 0}}'` prints it"
    )
    if match is None:
        return "is no image reference", by_digest
    if match["digest"]:
        return None
    if (match["tag"] or ":latest") == ":latest":
        return "means whatever was pushed last", by_digest
    if not allow_tag:
        return "is a tag, which may come to mean another image", by_digest + "; on a kind cluster without a registry: --allow-tag"
    return None


def check(reference: str, *, field: str, allow_tag: bool = False) -> str:
    """The reference, if a pipeline may be compiled with it.

    Raises:
        ProjectError: not a reference, a tag where `allow_tag` is not given, or `latest`.
    """
    found = fault(reference, allow_tag=allow_tag)
    if found:
        raise ProjectError(found[0], field=field, value=reference, fix=found[1])
    return reference
