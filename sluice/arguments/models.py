"""The commands on models that are there: serve, predict, explain, models, history, anchor, compare."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, home_argument, positive


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    serve = add("serve", "the model server on a package", "serve:serve")
    serve.add_argument("package", metavar="PACKAGE", help=PACKAGE)
    home_argument(serve)
    serve.add_argument("--port", type=int, default=8080)
    serve.add_argument("--grpc-port", type=int, help="also serve gRPC there")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--workers", type=int, help="default: the CPU quota")
    serve.add_argument("--log", metavar="DIR", help="keep predictions there, as Parquet")
    serve.add_argument("--cache", type=int, metavar="BYTES", help="of answers to inputs seen before; default: none")
    serve.add_argument("--name", help="the model's name in URLs; default: the package's")
    serve.add_argument("--require-signature", action="store_true", help="serve it only if a trusted key signed it")
    serve.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        metavar="FILE",
        help="a public key, or a folder of them; default: $SLUICE_TRUSTED_KEYS, else the home's own",
    )

    predict = add("predict", "a file of rows again, with a model's answers as columns", "predict:predict")
    predict.add_argument("package", metavar="NAME", help=PACKAGE)
    predict.add_argument(
        "file", metavar="FILE", help="CSV (any separator), JSON lines or Parquet; the rows as the source of the training rows has them"
    )
    predict.add_argument("-o", "--output", type=Path, metavar="OUT", help="default: FILE's name with .predictions in it, here")
    predict.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="what a row that cannot be used does; default: stop, and name its line"
    )
    predict.add_argument("--workers", type=positive, help="default: the CPU quota")
    home_argument(predict)

    explain = add("explain", "why a model answers rows as it does: what each column adds, by its package alone", "explain:explain")
    explain.add_argument("package", metavar="NAME", help=PACKAGE)
    explain.add_argument("file", metavar="FILE", help="CSV (any separator), JSON lines or Parquet, as for predict")
    explain.add_argument(
        "--row",
        type=positive,
        action="append",
        default=[],
        metavar="N",
        help="of the file, from 1; may be repeated; default: the first rows",
    )
    explain.add_argument("--limit", type=positive, default=5, metavar="N", help="how many first rows; default 5")
    explain.add_argument("--label", metavar="L", help="whose probability is explained; default: the label that is answered")
    home_argument(explain)

    models = add("models", "registered models, their versions and aliases", "history:models")
    models.add_argument("name", nargs="?")
    models.add_argument(
        "-n", "--namespace", metavar="NS", help="show beside them what serves there on the cluster, and where the two differ"
    )
    home_argument(models)
    history = add("history", "past runs: their metric, how they ended, how long they took", "history:history")
    history.add_argument("name", nargs="?")
    history.add_argument("--limit", type=positive, default=20)
    home_argument(history)
    anchor = add("anchor", "the best champion so far, which candidates are compared with too; name another, with a reason", "anchor:anchor")
    anchor.add_argument("name", metavar="NAME", help="the model's name in the registry")
    anchor.add_argument("--set", metavar="VERSION", help="make this version (a number, or an alias such as champion) the anchor")
    anchor.add_argument("--reason", metavar="TEXT", help="with --set: why; it stands in the record and in the audit log")
    home_argument(anchor)
    compare = add("compare", "two models side by side: settings, data and metrics that differ", "history:compare")
    compare.add_argument("a", metavar="A", help="NAME@champion, NAME@VERSION, or a digest")
    compare.add_argument("b", metavar="B")
    home_argument(compare)
