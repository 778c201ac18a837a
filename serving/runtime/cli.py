"""The server's command line: ``python -m serving.runtime PACKAGE ...``, and `serve` for ``sluice serve``."""

from __future__ import annotations

import os

# One process is one core here: the pools of numpy's BLAS and of tokenizers would only cost memory.
for _name, _value in (("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("TOKENIZERS_PARALLELISM", "false")):
    os.environ.setdefault(_name, _value)

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import logging  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import orjson  # noqa: E402

from serving.runtime.settings import Settings, Source  # noqa: E402
from sluice.core.errors import SluiceError  # noqa: E402
from sluice.core.processes import cpu_quota  # noqa: E402
from sluice.proof.trust import trust_of  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The options; their defaults are those of `Settings`."""
    p = argparse.ArgumentParser(
        prog="python -m serving.runtime",
        description="Serve Sluice packages and plain ONNX models.",
        epilog="exit status: 0 after a clean drain, 2 when the server cannot start, 1 otherwise",
    )
    d = Settings(sources=())
    p.add_argument(
        "packages", nargs="+", metavar="PACKAGE", help="a package directory, an .onnx file or s3://bucket/key; NAME=PACKAGE for several"
    )
    p.add_argument("--name", help="the model's name in URLs; default: the package's own")
    p.add_argument("--digest", help="the digest the package must have")
    p.add_argument("--host", default=d.host)
    p.add_argument("--port", type=_number(int, 0, 65535), default=d.port, help="0 takes a free one")
    p.add_argument("--grpc-port", type=_number(int, 0, 65535), help="also serve gRPC there")
    p.add_argument("--workers", type=_number(int, 1, 256), help="processes; default: the CPU quota")
    p.add_argument("--threads", type=_number(int, 1, 256), default=d.threads, help="ONNX Runtime threads a worker")
    p.add_argument("--slo-ms", type=_number(float, 0.001), default=d.slo_ms, help="latency objective: an edge of the latency histogram")
    _add_limits(p, d)
    _add_records(p, d)
    p.add_argument(
        "--allow-load", action="append", default=[], metavar="PREFIX", help="models may be loaded from below it over the network"
    )
    p.add_argument(
        "--require-signature",
        action="store_true",
        help="serve packages alone that a trusted key signed; default: $SLUICE_REQUIRE_SIGNATURE",
    )
    p.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        metavar="FILE",
        help="a public key, or a folder of them; may be repeated; default: $SLUICE_TRUSTED_KEYS",
    )
    p.add_argument("--pointer", metavar="FILE", help="a file that names the package to serve, and its digest; watched")
    return p


def _add_limits(p: argparse.ArgumentParser, d: Settings) -> None:
    """How much is taken at a time, and how long it may take."""
    p.add_argument("--max-batch", type=_number(int, 1), default=d.max_batch, help="most rows of one run")
    p.add_argument("--queue", type=_number(int, 1), default=d.queue, help="requests that may wait in a worker; more get 429")
    p.add_argument("--max-body", type=_number(int, 1), default=d.max_body, metavar="BYTES")
    p.add_argument("--max-rows", type=_number(int, 1), default=d.max_rows)
    p.add_argument(
        "--max-buffered", type=_number(int, 1), default=d.max_buffered, metavar="BYTES", help="of requests a worker holds; more get 429"
    )
    p.add_argument("--max-connections", type=_number(int, 1), default=d.max_connections)
    p.add_argument("--max-model", type=_number(int, 1), default=d.max_model, metavar="BYTES")
    p.add_argument("--deadline-ms", type=_number(float, 0.001), help="of a request that names none; default: none")
    p.add_argument("--drain", type=_number(float, 0), default=d.drain, metavar="SECONDS", help="what requests in flight get after SIGTERM")
    p.add_argument(
        "--drain-delay", type=_number(float, 0), default=d.drain_delay, metavar="SECONDS", help="how long new ones are taken after SIGTERM"
    )
    p.add_argument("--head-timeout", type=_number(float, 0.001), default=d.head_timeout, metavar="SECONDS")
    p.add_argument("--body-timeout", type=_number(float, 0.001), default=d.body_timeout, metavar="SECONDS")
    p.add_argument("--idle-timeout", type=_number(float, 0.001), default=d.idle_timeout, metavar="SECONDS")
    p.add_argument("--write-timeout", type=_number(float, 0.001), default=d.write_timeout, metavar="SECONDS")
    p.add_argument("--cache", type=_number(int, 0), default=d.cache, metavar="BYTES", help="response cache a worker; 0 is off")


def _add_records(p: argparse.ArgumentParser, d: Settings) -> None:
    """What is written down of requests and their outcomes."""
    p.add_argument("--log", metavar="DIR", help="prediction log: a folder or s3://bucket/prefix")
    p.add_argument(
        "--outcomes",
        type=_number(float, -1e100, 1e100),
        nargs=2,
        default=d.outcomes,
        metavar=("LOW", "HIGH"),
        help=f"outcomes that feedback may tell; default: {d.outcomes[0]:g} {d.outcomes[1]:g}",
    )
    p.add_argument(
        "--feedback-token",
        metavar="FILE",
        help="holds the secret that who tells feedback sends as a bearer token; default: $SLUICE_FEEDBACK_TOKEN; none: nobody through a gateway",
    )
    p.add_argument(
        "--user-header",
        type=_header,
        default=d.user_header,
        metavar="NAME",
        help="the request header that names the user: evidence of a rollout is counted by groups of users, and names none",
    )
    p.add_argument("--log-sample", type=_number(float, 0, 1), default=d.log_sample, help="share of requests it takes")
    p.add_argument("--log-seconds", type=_number(float, 0.05), default=d.log_seconds, help="how long a part is gathered")
    p.add_argument("--access-log", metavar="FILE", help="JSON lines; - is stdout")


def _number(kind: type, low: float, high: float = float("inf")) -> Any:
    def read(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not in {low:g}..{high:g}")
        return value

    read.__name__ = "number"
    return read


def _header(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a header")
    return text.lower()


def _secret(path: str | None) -> str | None:
    """The token of feedback: a file's text, or the environment's.

    Raises:
        SluiceError: it cannot be read, or is too short to be a secret.
    """
    field = "--feedback-token" if path else "SLUICE_FEEDBACK_TOKEN"
    try:
        text = Path(path).read_text() if path else os.environ.get("SLUICE_FEEDBACK_TOKEN", "")
    except (OSError, UnicodeDecodeError) as e:
        raise SluiceError(f"cannot be read: {e}", field=field, value=path, fix="name a file that holds the token") from e
    token = text.strip()
    if not token and not path:
        return None
    if len(token) < 16 or not token.isascii() or not token.isprintable():
        raise SluiceError(
            "must be at least 16 printable characters", field=field, value=f"{len(token)} characters", fix="openssl rand -hex 32 makes one"
        )
    return token


#: The settings that options have the names of.
_SAME = {
    "host",
    "port",
    "grpc_port",
    "threads",
    "slo_ms",
    "max_batch",
    "queue",
    "max_body",
    "max_rows",
    "max_buffered",
    "max_connections",
    "max_model",
    "drain",
    "drain_delay",
    "head_timeout",
    "body_timeout",
    "idle_timeout",
    "write_timeout",
    "pointer",
    "cache",
    "log",
    "log_sample",
    "log_seconds",
    "access_log",
    "user_header",
}


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings of parsed options.

    Raises:
        SluiceError: options that do not go together.
    """
    sources = []
    for text in args.packages:
        name, found, uri = text.partition("=")
        named = bool(found) and "/" not in name
        sources.append(Source(name if named else "", uri if named else text))
    if args.name or args.digest:
        if len(sources) != 1:
            raise SluiceError(
                "goes with one package", field="--name" if args.name else "--digest", value=len(sources), fix="write NAME=PACKAGE"
            )
        sources[0] = Source(args.name or sources[0].name, sources[0].uri, args.digest)
    if args.log and importlib.util.find_spec("pyarrow") is None:
        raise SluiceError(
            "needs pyarrow, which is not here: the server would answer and log nothing",
            field="--log",
            value=args.log,
            fix="an image of the server made with PREDICTION_LOG=1 (PREDICTION_LOG=1 make images), or pip install pyarrow",
        )
    low, high = args.outcomes
    if not low < high:
        raise SluiceError(
            "must be the smaller one, then the larger one", field="--outcomes", value=args.outcomes, fix="for example --outcomes 0 1"
        )
    return Settings(
        sources=tuple(sources),
        workers=args.workers or cpu_quota(),
        deadline=args.deadline_ms / 1e3 if args.deadline_ms else None,
        allow_load=tuple(args.allow_load),
        outcomes=(low, high),
        feedback_token=_secret(args.feedback_token),
        trust=trust_of(args.require_signature, args.trusted_key),
        **{k: getattr(args, k) for k in _SAME},
    )


class JsonLines(logging.Formatter):
    """A log line as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        out = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
            **getattr(record, "data", {}),
        }
        if record.exc_info:
            out["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(out, default=str).decode()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Returns the exit status."""
    args = parser().parse_args(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("sluice.serving")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        from serving.runtime.process.supervisor import Supervisor

        return Supervisor(settings_of(args)).run()
    except SluiceError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code


def serve(argv: Sequence[str]) -> int:
    """What ``sluice serve`` calls. Returns the exit status."""
    return main(argv)
