"""A run that goes no further than a step: its pipeline ends there."""

from __future__ import annotations

import pytest

from components import cluster
from pipelines.training import split
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.project import parse


@pytest.mark.parametrize(("until", "last"), [("", "rollout"), ("export_onnx", "export_onnx"), ("register", "register"), ("train", "train")])
def test_steps_behind_it_are_left_out(until: str, last: str) -> None:
    with cluster.running_here("", "", until=until):
        assert [s.name for part in split() for s in part][-1] == last


def test_a_key_that_is_required_is_looked_for_before_anything_is_done(tmp_path, monkeypatch) -> None:
    from pipelines.local import run
    from sluice.proof import keys

    monkeypatch.delenv(keys.SIGNING_KEY_ENV, raising=False)
    wanted = {"name": "demo", "task": "text", "data": {"source": "rows.csv"}, "provenance": {"required": True}}
    with pytest.raises(ProjectError, match=r"provenance.required: is required, and there is no key"):
        run(parse(wanted), text="{}", base_dir=tmp_path, home=Home(tmp_path / "home"), command="run", quiet=True)
    assert not (tmp_path / "home" / "runs").exists()
    wanted["provenance"] = {"key": "missing.pem"}
    with pytest.raises(ProjectError, match="cannot be read"):
        run(parse(wanted), text="{}", base_dir=tmp_path, home=Home(tmp_path / "home"), command="run", quiet=True)
    wanted["provenance"] = {"key": "-----BEGIN PRIVATE KEY-----"}
    with pytest.raises(ProjectError, match="is a key itself"):
        parse(wanted)


def test_a_cluster_that_gives_the_step_no_key_is_told_before_anything_is_started() -> None:
    from sluice.kfp.needs import of_steps
    from sluice.kfp.site import Told

    raw = {"name": "demo", "task": "text", "data": {"source": "s3://b/rows.csv"}, "provenance": {"required": True}}
    lacks = lambda p: [n.field for n in of_steps(p, Told(None, "")) if "register" in n.field]  # noqa: E731
    assert lacks(parse(raw)) == ["cluster.steps.register.secrets"]
    secret = {"name": "signing-key", "env": {"signing.pem": "SLUICE_SIGNING_KEY"}}
    assert lacks(parse(raw | {"cluster": {"steps": {"register": {"secrets": [secret]}}}})) == []
    mounted = {"cluster": {"steps": {"register": {"secrets": [{"name": "signing-key", "mount": "/keys"}]}}}}
    assert lacks(parse(raw | mounted | {"provenance": {"required": True, "key": "/keys/signing.pem"}})) == []
    assert lacks(parse({k: v for k, v in raw.items() if k != "provenance"})) == []
