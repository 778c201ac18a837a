"""The commands on models that are there: serve, predict, explain, models, history, anchor, compare."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import PACKAGE, Add, Commands, fraction, home_argument, positive


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    for one in (_serve, _predict, _explain, _import, _registered):
        one(add)


def _serve(add: Add) -> None:
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


def _predict(add: Add) -> None:
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


def _explain(add: Add) -> None:
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


def _import(add: Add) -> None:
    import_ = add("import", "a model that something else trained, as a package and a registered version", "adopt:import_")
    import_.add_argument(
        "source",
        metavar="SOURCE",
        help="an .onnx file; a model that MLflow keeps (a folder with MLmodel, models:/NAME/1, runs:/RUN/model), of flavour onnx, "
        "sklearn or pytorch; a folder or s3:// prefix of one; or the YAML file of a KServe InferenceService",
    )
    import_.add_argument("--name", metavar="NAME", help="in the registry; default: the service's or the file's own")
    import_.add_argument("--problem", metavar="P", help="classification or regression: what an ONNX graph's numbers are; the others say so")
    import_.add_argument(
        "--labels", metavar="A,B,C", help="in the order of the output's columns; default: what the model says, else 0,1,2..."
    )
    import_.add_argument("--output-tensor", metavar="NAME", help="which output of the graph is the answer; default: the last that can be")
    import_.add_argument("--softmax", action="store_true", help="that output holds logits: put a softmax behind it")
    import_.add_argument("--flavour", metavar="F", help="of an MLflow model that has several; default: onnx first")
    import_.add_argument("--trust", action="store_true", help="load a pickle, which runs code of whoever made it")
    import_.add_argument("--tolerance", type=fraction, default=1e-4, metavar="F", help="most that an answer may differ by; default 0.0001")
    import_.add_argument("--manifest", type=Path, metavar="FILE", help="also write a ModelRollout that serves it")
    import_.add_argument("-n", "--namespace", metavar="NS", help="of that ModelRollout; default: the service's own, else sluice")
    home_argument(import_)


def _registered(add: Add) -> None:
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
