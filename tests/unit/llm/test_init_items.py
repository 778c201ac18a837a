"""`sluice init --data` of conversations and of questions with answers: a project that runs as it stands, and what can be learnt from."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluice.cli import main
from sluice.project import load
from tests.support.causal import ITEMS, causal
from tests.support.endpoint import Scripted


@contextlib.contextmanager
def listing(*models: str, key: str | None = None) -> Iterator[str]:
    """An endpoint that says which models it has."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = key is None or self.headers.get("Authorization") == f"Bearer {key}"
            body = json.dumps({"data": [{"id": m} for m in models]}).encode() if self.path == "/v1/models" and allowed else b"no"
            self.send_response(200 if body != b"no" else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def chats(path: Path, many: int) -> Path:
    turns = [
        ({"role": "user", "content": f"question {i} ?"}, {"role": "assistant", "content": f"answer number {i} of the list"})
        for i in range(many)
    ]
    path.write_text("".join(json.dumps({"messages": list(t)}) + "\n" for t in turns))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_model_is_the_only_one_that_the_endpoint_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = chats(tmp_path / "chat.jsonl", 30)
    monkeypatch.setenv("MY_KEY", "sk-1")
    with listing("small-1", key="sk-1") as url:
        said = ["--set", f"model.endpoint.url={url}"]
        assert main(["init", str(tmp_path / "a"), "--data", str(data), *said, "--set", "model.endpoint.key_env=MY_KEY"]) == 0
        assert main(["init", str(tmp_path / "b"), "--data", str(data), *said]) == 2  # it does not tell a stranger
    assert load(tmp_path / "a" / "sluice.yaml").model.endpoint.model == "small-1"
    with listing("one", "two") as url:
        monkeypatch.setenv("SLUICE_LLM_URL", url)
        assert main(["init", str(tmp_path / "b"), "--data", str(data)]) == 2
    found = capsys.readouterr().err
    assert "does not tell which it has" in found and "which model answers is not said, and it has one, two" in found
    assert "--set model.endpoint.model=one" in found and "sk-1" not in found
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("many, golden, learnt", [(59, 59, 0), (300, 60, 240), (2000, 200, 1800)])
def test_items_are_divided_for_judging_and_for_learning(tmp_path: Path, many: int, golden: int, learnt: int) -> None:
    data = chats(tmp_path / "chat.jsonl", many)
    data.write_text(data.read_text() + data.read_text())  # each twice: they stay on one side
    assert main(["init", str(tmp_path / "p"), "--data", str(data), "--set", "model.endpoint.model=m"]) == 0
    judged = rows(tmp_path / "p" / "data" / "golden.jsonl")
    assert len(judged) == golden
    left = rows(tmp_path / "p" / "data" / "train.jsonl") if learnt else []
    assert len(left) == 2 * learnt and not {r["question"] for r in judged} & {r["question"] for r in left}
    assert load(tmp_path / "p" / "sluice.yaml").model.scorers == {"contains": {}}


def test_a_project_of_a_csv_is_asked_for_by_its_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "faq.csv"
    data.write_text("topic,question,answer\n" + "".join(f"t{i % 3},What is {i}?,{i}\n" for i in range(40)))
    said = ["--data", str(data), "--set", "model.endpoint.model=m"]
    assert main(["init", str(tmp_path / "p"), *said, "--task", "llm", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "llm" and told["variables"] == ["question"] and told["golden"] == 40
    assert main(["init", str(tmp_path / "q"), *said[:2], "--task", "llm", "--label", "topic", "--set", "model.endpoint.model=m"]) == 0
    assert set(rows(tmp_path / "q" / "data" / "golden.jsonl")[0]) == {"question", "answer"}


def test_it_runs_as_it_stands(tmp_path: Path) -> None:
    data = chats(tmp_path / "chat.jsonl", 30)
    wanted = {f"question {i} ?": f"answer number {i} of the list" for i in range(30)}
    with Scripted(answer=lambda asked: next((a for q, a in wanted.items() if q in asked), "?"), model="m").serving() as endpoint:
        settings = ["--set", f"model.endpoint.url={endpoint.url}", "--set", "model.endpoint.model=m"]
        assert main(["init", str(tmp_path / "p"), "--data", str(data), *settings]) == 0
        where = ["--home", str(tmp_path / "home")]
        assert main(["run", str(tmp_path / "p" / "sluice.yaml"), *where]) == 0


def test_what_is_left_is_learnt_from(tmp_path: Path) -> None:
    data = tmp_path / "pairs.json"
    data.write_text(
        json.dumps([{"prompt": f"capital of {i['country']} {n} ?", "completion": i["answer"]} for n in range(24) for i in ITEMS])
    )
    project = tmp_path / "p"
    assert main(["init", str(project), "--data", str(data), "--set", "model.endpoint.model=m"]) == 0
    given = ["--base", str(causal(tmp_path / "base")), "--data", str(project / "data" / "train.jsonl"), "--out", str(tmp_path / "tuned")]
    settings = ["--set", "epochs=1", "--home", str(tmp_path / "home")]
    assert main(["finetune", str(project / "sluice.yaml"), *given, *settings]) == 0
    assert (tmp_path / "tuned" / "adapter" / "adapter_model.safetensors").is_file()
    assert (
        main(
            ["finetune", str(project / "sluice.yaml"), *given[:2], "--data", str(project / "data" / "golden.jsonl"), *given[4:], *settings]
        )
        == 2
    )


def test_passages_of_a_folder_have_a_place_in_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The third gate of the old town is called the gate of answers.")
    data = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    data.write_text(
        "".join(
            json.dumps({"messages": [*turns, {"role": "user", "content": f"Gate {i}?"}, {"role": "assistant", "content": f"a{i}"}]}) + "\n"
            for i in range(25)
        )
    )
    with Scripted(
        answer=lambda asked: "a" + asked.rsplit("Gate ", 1)[1].split("?")[0] if "gate of answers" in asked else "?", model="m"
    ).serving() as endpoint:
        said = ["--set", f"model.endpoint.url={endpoint.url}", "--set", "model.endpoint.model=m"]
        assert main(["init", "p", "--data", "rows.jsonl", *said, "--set", "model.retrieval.folder=documents"]) == 2
        assert "--set model.retrieval.folder: no such folder (got 'documents')" in capsys.readouterr().err
        assert main(["init", "p", "--data", "rows.jsonl", *said, "--set", "model.retrieval.folder=docs"]) == 0
        model = load(tmp_path / "p" / "sluice.yaml").model
        assert (
            model.retrieval.folder == "../docs" and model.retrieval.query == "question" and list(model.scorers) == ["contains", "grounded"]
        )
        assert main(["run", "p/sluice.yaml", "--home", "home"]) == 0
