"""The page as a browser meets it: a real process over a home made on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sluice.core import files
from sluice.core.home import Home
from sluice.registry.versions import Registry
from sluice.rollouts.store import Store
from tests.tools import ui_home
from tests.tools.ui_server import Served, served

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    found = ui_home.build(tmp_path_factory.mktemp("ui") / "home", 8, models=False)
    ui_home.registry(found, "intents", 3)
    ui_home.run(found, 20, "evil", "refused", EVIL)
    ui_home.rollout(found, "evil", ended="rolled_back", reason=EVIL)
    found.registry = Registry(found.tracking_uri)  # type: ignore[attr-defined]
    found.registry.tag("intents", "3", {"sluice.rollout.reason": EVIL})  # type: ignore[attr-defined]
    return found


@pytest.fixture(scope="module")
def ui(home: Home) -> Iterator[Served]:
    with served(home.root, "--actions") as found:
        yield found


@pytest.fixture(scope="module")
def reader(ui: Served) -> Iterator[httpx.Client]:
    with ui.client() as client:
        yield client


@pytest.fixture(scope="module")
def actor(ui: Served) -> Iterator[httpx.Client]:
    client = ui.signed_in()
    yield client
    client.close()


def word(client: httpx.Client, address: str) -> str:
    """What a page's form carries."""
    return client.get(address).text.partition('name="csrf" value="')[2].partition('"')[0]


def press(ui: Served, client: httpx.Client, address: str, **fields: str) -> httpx.Response:
    """Send the form of a confirmation."""
    csrf = fields.pop("csrf", "") or word(client, "/")
    return client.post(address, data={"csrf": csrf, **fields}, headers={"origin": ui.url})


def test_every_page_shows_what_the_home_holds(reader: httpx.Client, home: Home) -> None:
    run = next(p.name for p in sorted(home.runs.iterdir()) if p.name.startswith("intents"))
    for address, words in {
        "/": run,
        f"/runs/{run}": "9,211 train rows",
        f"/runs/{run}/report": run,
        "/models": "version 3",
        "/models/intents": "data digest",
        "/compare?a=intents@2&b=intents@3": "macro_f1",
        "/rollouts": "digits",
        "/rollouts/digits": "step 2 of 2: 50 %",
        "/audit": "promotion",
        "/?project=intents&outcome=promoted": run,
    }.items():
        answer = reader.get(address)
        assert answer.status_code == 200, address
        assert words in answer.text, address


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/runs/{evil}",
        "/models/intents",
        "/rollouts",
        "/rollouts/evil",
        "/audit?model=%3Cscript%3Ealert(1)",
        "/?project=%22%3E%3Cscript%3Ealert(1)",
    ],
)
def test_no_text_from_outside_becomes_markup(reader: httpx.Client, home: Home, address: str) -> None:
    evil = next(p.name for p in home.runs.iterdir() if p.name.startswith("evil"))
    answer = reader.get(address.format(evil=evil))
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "49" not in answer.text.partition("alert(2)")[2][:40]


def test_a_refused_run_says_what_can_be_done(reader: httpx.Client, home: Home) -> None:
    run = ui_home.run(home, 2, "churn", "refused")
    page = reader.get(f"/runs/{run}").text
    assert "What can be done" in page and "change evaluate.minimum; <code>sluice run</code> again" in page


def test_a_page_runs_only_what_is_its_own(reader: httpx.Client) -> None:
    answer = reader.get("/")
    policy = answer.headers["content-security-policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert f'nonce="{nonce}"' in answer.text
    assert nonce not in reader.get("/").text, "a nonce is used once"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "://" not in answer.text.replace("http://www.w3.org", ""), "nothing is loaded from elsewhere"


def test_a_report_runs_nothing_either(reader: httpx.Client, home: Home) -> None:
    run = next(p.name for p in home.reports.iterdir())
    policy = reader.get(f"/runs/{run}/report").headers["content-security-policy"]
    assert "sandbox" in policy and "script-src" not in policy and "default-src 'none'" in policy


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1", "127.0.0.1.evil.example:{port}", "localhost:{port}@evil", "", "evil.example:{port}"]
)
def test_a_name_pointed_at_this_machine_is_not_answered(reader: httpx.Client, ui: Served, host: str) -> None:
    port = ui.url.rpartition(":")[2]
    assert reader.get("/", headers={"host": host.format(port=port)}).status_code in (400, 421)
    assert reader.get("/", headers={"host": f"localhost:{port}"}).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/runs/..%2f..%2f..%2fetc%2fpasswd",
        "/runs/%2e%2e/report",
        "/runs/..%5c..%5cetc",
        "/runs/a%00b",
        "/runs/nobody-20261128-120000-0000",
        "/runs/link-20260101-000000-0000/report",
        "/rollouts/..%2f..%2fruns",
        "/rollouts/nobody",
        "/rollouts/.%2e",
        "/models/nobody",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2fapp.py",
        "/compare?a=nobody@1&b=intents@1",
        "/nowhere",
    ],
)
def test_what_is_not_there_is_said_and_nothing_beside_the_home_is_read(reader: httpx.Client, home: Home, address: str) -> None:
    outside = home.reports / "link-20260101-000000-0000"
    if not outside.exists():
        outside.symlink_to("/etc", target_is_directory=True)
        (home.root / "index.html").write_text("secret")
    answer = reader.get(address)
    assert answer.status_code == 404
    assert "root:" not in answer.text and "import" not in answer.text


def test_large_and_odd_requests_are_refused(reader: httpx.Client, ui: Served) -> None:
    assert reader.get("/?project=" + "x" * 5000).status_code == 414
    assert reader.get("/", headers={"x-long": "x" * 40000}).status_code in (400, 431)
    assert reader.request("DELETE", "/").status_code == 405
    assert reader.get("/?page=99999999999999999999").status_code == 200
    assert reader.get("/?page=-1").status_code == 200
    own = {"origin": ui.url}
    assert (
        reader.post(
            "/signin", content=b"token=" + b"x" * 100_000, headers={**own, "content-type": "application/x-www-form-urlencoded"}
        ).status_code
        == 413
    )
    assert (
        reader.post(
            "/signin", content=b"&".join([b"a=1"] * 1000), headers={**own, "content-type": "application/x-www-form-urlencoded"}
        ).status_code
        == 400
    )
    assert reader.post("/signin", json={"token": "x"}, headers=own).status_code == 415


def test_files_that_are_broken_or_too_large_do_not_break_a_list(home: Home, reader: httpx.Client) -> None:
    names = {
        "broken": b"{",
        "list": b"[1]",
        "types": b'{"outcome": {"a": 1}, "reasons": 7, "seconds": "x", "steps": null}',
        "large": b" " * (9 << 20),
    }
    for name, data in names.items():
        files.write_bytes(home.runs / f"{name}-20250101-000000-0000" / "outcome.json", data)
    page = reader.get("/?outcome=unreadable")
    assert page.status_code == 200
    for name in ("broken", "list", "large"):
        assert f"{name}-20250101-000000-0000" in page.text
        assert reader.get(f"/runs/{name}-20250101-000000-0000").status_code == 200
    assert reader.get("/runs/types-20250101-000000-0000").status_code == 200


def test_a_state_of_another_kind_is_said_and_the_list_goes_on(home: Home, reader: httpx.Client) -> None:
    odd = {
        "empty": b'{"state": {}, "updated": 1}',
        "list": b'{"state": [], "updated": 1}',
        "types": b'{"state": {"phase": 7, "stage": [], "step": "x", "weight": {}, "verdict": 1, "reasons": "ab"}, "updated": "never", "view": {"tests": [1, {"stable": 5}]}, "load": {"sent": "many"}}',
        "torn": b'{"state"',
    }
    for name, data in odd.items():
        files.write_bytes(home.rollouts / f"odd-{name}" / "state.json", data)
    try:
        assert reader.get("/rollouts").status_code == 200
        for name in odd:
            assert reader.get(f"/rollouts/odd-{name}").status_code in (404, 502), name
    finally:
        for name in odd:
            shutil.rmtree(home.rollouts / f"odd-{name}")
    errors = b'{"outcome": "failed", "error": {"step": [1], "message": {"a": 1}}, "reasons": [{"b": 2}]}'
    files.write_bytes(home.runs / "error-20250101-000000-0000" / "outcome.json", errors)
    assert reader.get("/runs/error-20250101-000000-0000").status_code == 200


def test_a_monitor_shows_its_alarms_and_the_last_windows(home: Home, reader: httpx.Client) -> None:
    history = [
        {"window": i, "ended": f"2026-11-2{i}T00:00:00Z", "parts": {EVIL: [0.1 * i, 0.2, i > 2], "age": [0.01, 0.2, False]}}
        for i in range(4)
    ]
    last = {"standing": [{"feature": EVIL, "text": f"{EVIL} moved"}]}
    kept = {"format": "sluice.monitor/v1", "history": history, "last": last, "state": {"rows": 4000, "windows": 4}}
    files.write_json(home.root / "monitor" / "intents-0123456789ab.json", kept)
    files.write_bytes(home.root / "monitor" / "odd-0123456789ab.json", b"[]")
    page = reader.get("/monitors")
    assert page.status_code == 200
    assert "4,000" in page.text and "<polyline" in page.text and "1 alarm stands" in page.text and "unreadable" in page.text
    assert "<script>alert" not in page.text


def test_without_the_token_nothing_is_changed(ui: Served, reader: httpx.Client) -> None:
    assert "Roll back" not in reader.get("/models/intents").text
    for address in ("/models/intents/rollback", "/models/intents/promote", "/rollouts/digits/abort"):
        form = {"reason": "x", "environment": "dev", "to": "staging"}
        assert reader.post(address, data=form, headers={"origin": ui.url}).status_code == 401
        assert reader.post(address, data=form).status_code == 403, "a browser always says where a form comes from"
        assert reader.get(address, follow_redirects=False).headers["location"].startswith("/signin?next=")


@pytest.mark.parametrize("token", ["", "x", "{token}x", "é" * 20, "\x00"])
def test_a_wrong_token_opens_nothing(ui: Served, token: str) -> None:
    with ui.client() as client:
        answer = client.post("/signin", data={"token": token.format(token=ui.token)}, headers={"origin": ui.url})
        assert answer.status_code == 403 and not answer.cookies
        given = token.format(token=ui.token).encode()
        bearer = client.post(
            "/rollouts/digits/abort", data={"reason": "x"}, headers={"authorization": b"Bearer x" + given.replace(b"\x00", b"0")}
        )
        assert bearer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [({"origin": "http://evil.example"}, "right"), ({"origin": "null"}, "right"), ({}, "right"), ({"origin": "own"}, "wrong"), ({"origin": "own"}, "none"),
     ({"origin": "own", "sec-fetch-site": "cross-site"}, "right"), ({"origin": "own", "sec-fetch-site": "same-site"}, "right")],
)  # fmt: skip
def test_another_page_cannot_press_a_button(ui: Served, actor: httpx.Client, home: Home, headers: dict[str, str], csrf: str) -> None:
    form = {"reason": "x", "environment": "dev", "csrf": {"right": word(actor, "/"), "wrong": "0" * 64, "none": ""}[csrf]}
    sent = {k: ui.url if v == "own" else v for k, v in headers.items()}
    assert actor.post("/models/intents/rollback", data=form, headers=sent).status_code == 403
    assert home.registry.by_alias("intents", "champion").number == "3"  # type: ignore[attr-defined]


def test_signing_in_sends_nobody_elsewhere(ui: Served) -> None:
    for wanted in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        with ui.client() as client:
            answer = client.post("/signin", data={"token": ui.token, "next": wanted}, headers={"origin": ui.url})
            assert answer.headers["location"] == "/"
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()


def test_a_rollback_says_what_will_happen_then_does_it(ui: Served, actor: httpx.Client, home: Home) -> None:
    page = actor.get("/models/intents/rollback?environment=dev").text
    assert f"sha256:{ui_home.digest_of(2)[:12]} goes from dev" in page
    assert home.registry.by_alias("intents", "champion").number == "3"  # type: ignore[attr-defined]
    assert press(ui, actor, "/models/intents/rollback", environment="dev", reason=" ").status_code == 400
    done = press(ui, actor, "/models/intents/rollback", environment="dev", reason="answers are odd")
    assert done.status_code == 200 and "Rolled back" in done.text
    assert home.registry.by_alias("intents", "champion").number == "2"  # type: ignore[attr-defined]
    assert "answers are odd (in sluice ui)" in actor.get("/audit").text


def test_a_promotion_that_a_condition_refuses_changes_nothing(ui: Served, actor: httpx.Client, home: Home) -> None:
    page = actor.get("/models/intents/promote?to=production").text
    assert "would refuse" in page and "package" in page, "the package is not in the store"
    done = press(ui, actor, "/models/intents/promote", to="production", reason="go")
    assert done.status_code == 409
    assert home.registry.by_alias("intents", "production-champion").number == "1"  # type: ignore[attr-defined]
    assert press(ui, actor, "/models/intents/promote", to="nowhere").status_code == 409


def test_a_running_rollout_is_steered_and_watched(ui: Served, actor: httpx.Client, home: Home) -> None:
    store = ui_home.rollout(home, "live", running=True)
    with store.held():
        assert "Pause" in actor.get("/rollouts/live").text
        assert press(ui, actor, "/rollouts/live/pause").status_code == 303
        assert press(ui, actor, "/rollouts/live/abort").status_code == 400, "an abort needs a reason"
        assert press(ui, actor, "/rollouts/live/abort", reason="too slow").status_code == 303
        assert [c for _, c in store.commands()] == ["pause", "abort"]
        assert press(ui, actor, "/rollouts/live/explode").status_code == 404
        with actor.stream("GET", "/rollouts/live/events") as events:
            lines = events.iter_lines()
            assert any("328 of 600" in line for line in _until(lines, "data:"))
            ui_home.save(store, 777, "Step", 50, EVIL)
            line = next(li for li in lines if li.startswith("data:"))
            assert "777" in line and "<script>alert" not in line.replace("\\", "")
    assert press(ui, actor, "/rollouts/digits/retry").status_code == 409, "it was promoted"


def _until(lines: Iterator[str], start: str) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith(start):
            return


def test_a_program_shows_the_token_instead(ui: Served, home: Home) -> None:
    store = ui_home.rollout(home, "robot", running=True)
    with store.held(), ui.client() as client:
        answer = client.post("/rollouts/robot/pause", data={}, headers={"authorization": f"Bearer {ui.token}"})
        assert answer.status_code == 303
        foreign = {"authorization": f"Bearer {ui.token}", "origin": "http://evil.example"}
        assert client.post("/rollouts/robot/pause", data={}, headers=foreign).status_code == 403
    assert len(Store(home.root, "robot").commands()) == 1


def test_read_only_is_the_default(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    with served(home.root) as ui, ui.client() as client:
        assert "Nothing was run here yet" in client.get("/").text
        assert "sluice run PROJECT" in client.get("/models").text
        assert client.get("/rollouts").status_code == client.get("/audit").status_code == 200
        assert client.post("/signin", data={"token": ""}, headers={"origin": ui.url}).status_code == 403
        assert client.post("/rollouts/a/abort", data={"reason": "x"}, headers={"origin": ui.url}).status_code == 403
        assert client.get("/rollouts/a/abort").status_code == 403
    assert not list(tmp_path.glob("home/runs/*"))
    shutil.rmtree(home.root)


def test_open_to_other_machines_looking_needs_the_token_too(home: Home) -> None:
    with served(home.root, "--host", "0.0.0.0", "--name", "ui.example.org") as ui, ui.client() as client:
        for address in (
            "/",
            "/models",
            "/rollouts/digits",
            "/rollouts/digits/events",
            "/audit",
            "/runs/x/report",
            "/rollouts/digits/abort",
        ):
            answer = client.get(address)
            assert answer.status_code == 303 and answer.headers["location"].startswith("/signin"), address
        assert client.get("/signin", headers={"host": "ui.example.org"}).status_code == 200
        assert client.get("/signin", headers={"host": "other.example.org"}).status_code == 421
        assert client.post("/signin", data={"token": ui.token}, headers={"origin": ui.url}).status_code == 303
        assert "intents" in client.get("/").text
        word_ = word(client, "/")
        assert client.post("/signout", data={"csrf": word_}, headers={"origin": ui.url}).status_code == 303
        assert client.get("/").status_code == 303


def test_the_token_may_be_ones_own_and_not_one_that_is_guessed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("correct horse battery\n")
    with served(home.root, "--token-file", str(tmp_path / "token")) as ui, ui.client() as client:
        assert ui.token == "", "it is not printed again"
        assert client.post("/signin", data={"token": "correct horse battery"}, headers={"origin": ui.url}).status_code == 303
    (tmp_path / "token").write_text("short")
    from sluice.cli import main

    assert main(["ui", "--home", str(home.root), "--port", "0", "--token-file", str(tmp_path / "token")]) == 2
    assert main(["ui", "--home", str(home.root), "--port", "0", "--token-file", str(tmp_path / "none")]) == 2
    assert main(["ui", "--endpoint", "http://x", "--home", str(home.root)]) == 2
