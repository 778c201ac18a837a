"""`sluice audit`: a model's story from the log and the registry, in order, and whether that log is whole."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from sluice.audit.log import ANCHOR, anchor, open_log
from sluice.audit.record import Entry
from sluice.cli import main
from sluice.core.home import Home
from sluice.registry.versions import CHAMPION, Registry, RegistryFault

A, B = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two versions of a model, each of a run; the second was promoted. And another model."""
    home = Home(tmp_path_factory.mktemp("told") / "home").create()
    registry, log = Registry(home.tracking_uri), open_log(home)
    for i, digest in enumerate((A, B)):
        evidence = {"evaluation": {"metric": "accuracy", "value": 0.9 + i / 100}, "columns": {str(n): "number" for n in range(99)}}
        log.append(
            Entry("gate", "points", "", "", "good <enough>", {"run": f"r{i}", "step": "evaluate", "decision": "pass", "evidence": evidence})
        )
        made = registry.register(
            "points", digest, f"file:///s/sha256/{digest}", metrics={"accuracy": 0.9}, tags={"sluice.data": "d" * 64}, run_id=None
        )
        entry = Entry("registration", "points", digest, "", "as ever", {"run": f"r{i}", "step": "register", "decision": "pass"})
        registry.tag("points", made.number, {ANCHOR: anchor(log, log.append(entry))})
    for name in (CHAMPION, "production-champion"):
        registry.set_alias("points", name, "2")
    log.append(Entry("promotion", "points", B, "production", "ada asked", {"version": "2", "versions": ["2", "1"]}, "grace"))
    log.append(Entry("gate", "others", reason="not told"))
    return home


def test_a_model_is_told_in_order_with_what_it_was_made_of(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "points", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert "## version 2 (champion, production-champion)" in said and f"- data digest: {'d' * 64}" in said and "not told" not in said
    order = [
        said.index(x)
        for x in ("[version 1] pass: good", "**registration** [version 1]", "accuracy", "grace: **promotion in production** [version 2]")
    ]
    assert order[0] < order[1] < order[3]
    assert "columns" not in said and "evaluation.value: 0.91" in said


def test_a_version_has_its_own_story(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "points@1", "--json", "--home", str(home.root)]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert [(e["kind"], e["version"]) for e in told["events"]] == [
        ("gate evaluate", "1"),
        ("registration", "1"),
        ("promotion in production", "2"),
    ]
    assert [v["version"] for v in told["versions"]] == ["1"] and told["whole"]
    assert main(["audit", "points@7", "--home", str(home.root)]) == 2
    assert "points@2, points@1" in capsys.readouterr().err


def test_the_page_has_everything_and_nothing_of_it_is_markup(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "story.html"
    assert main(["audit", "points", "--html", str(page), "--home", str(home.root)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text()
    assert "good &lt;enough&gt;" in text and "ada asked" in text and "<enough>" not in text


def test_verify_names_what_was_changed_and_ends_with_3(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--home", str(home.root)]) == 0
    assert "6 records, every one as it was written; the head names 5, 2 are named by the registry" in capsys.readouterr().out
    path = home.root / "audit" / "log.jsonl"
    good, head = path.read_bytes(), (home.root / "audit-head.json").read_bytes()
    try:
        path.write_bytes(good.replace(b"ada asked", b"eve asked"))
        assert main(["audit", "verify", "--home", str(home.root)]) == 3
        assert "record 4: was changed" in capsys.readouterr().out
        assert main(["audit", "points", "--home", str(home.root)]) == 3
        assert "is not what was written" in capsys.readouterr().out
        path.write_bytes(b"".join(good.splitlines(keepends=True)[:3]))
        (home.root / "audit-head.json").unlink()
        assert main(["audit", "verify", "--json", "--home", str(home.root)]) == 3
        found = orjson.loads(capsys.readouterr().out)
        assert [f["record"] for f in found["faults"]] == [2, 3, None] and "points@2 in the registry names 3" in found["faults"][1]["what"]
    finally:
        path.write_bytes(good)
        (home.root / "audit-head.json").write_bytes(head)


def test_a_registry_that_is_away_is_said_and_the_log_is_looked_at_all_the_same(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[str]:
        raise RegistryFault("the model registry could not list models: no answer")

    monkeypatch.setattr(Registry, "models", away)
    assert main(["audit", "verify", "--home", str(home.root)]) == 0
    said = capsys.readouterr()
    assert "registry's part was not looked at" in said.err and "6 records, every one as it was written" in said.out
