"""The `sluice` command. Results on stdout, everything else on stderr; `--json` prints one object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from sluice import __version__
from sluice.core.errors import ProjectError, SluiceError

#: What a folder's project file is called.
PROJECT_FILE = "sluice.yaml"

Handler = Callable[[argparse.Namespace], int]


_PACKAGE = "a package directory, a digest in the store, NAME or a project (its folder or file) for the champion, or NAME@VERSION"


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sluice",
        description="ML pipelines with gates: on this machine, or on Kubeflow.",
        epilog="exit status: 0 done or promoted, 1 fault, 2 bad project or data, 3 a gate refused, 4 rolled back",
    )
    top.add_argument("--version", action="version", version=f"sluice {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help_: str, handler: str, parent: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = parent.add_parser(name, help=help_, description=help_)
        made.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        made.set_defaults(handler=handler)
        return made

    init = add("init", "write a project that runs as it stands", "project:init")
    init.add_argument("directory", nargs="?", default=".", metavar="DIR", type=Path)
    init.add_argument("--task", help="image, text or tabular: an example of it; with --data: what the columns say")
    init.add_argument(
        "--data", type=Path, metavar="FILE", help="your own file or folder of images: it is looked at, and the project is one of it"
    )
    init.add_argument("--label", metavar="COL", help="with --data: the column to learn; default: found or asked for")
    init.add_argument("--name", help="default: the directory's name")

    add("schema", "print the project file's JSON Schema", "project:schema_")

    run = add("run", "the whole pipeline here, no cluster, to a rolled-out model", "run:run")
    _project_arguments(run)
    _home_argument(run)
    run.add_argument("--quiet", action="store_true", help="show no progress")

    tune = add("tune", "search for the best settings: the project's `tune` section", "tune:tune")
    _project_arguments(tune)
    _home_argument(tune)
    tune.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the project with the best settings goes; default: into the home"
    )
    tune.add_argument("--quiet", action="store_true", help="show no trials")

    compile_ = add("compile", "the project as a KFP pipeline (IR YAML), or as objects for kubectl", "pipelines:compile_")
    _project_arguments(compile_)
    _tune_argument(compile_)
    compile_.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    compile_.add_argument("--kubernetes", action="store_true", help="write Pipeline and PipelineVersion objects, named by content hash")
    compile_.add_argument("--namespace", help="of these objects; default: kubectl's")
    compile_.add_argument("--context", help="of the kubeconfig; default: its current one")
    _image_arguments(compile_)
    _site_arguments(compile_)

    upload = add(
        "upload", "the pipeline on a Kubeflow Pipelines endpoint, for its page and for PipelineRuns; no run is started", "pipelines:upload"
    )
    _project_arguments(upload, optional="default: the pipeline that takes any project, as the cluster's ConfigMap names it")
    _tune_argument(upload)
    _endpoint_arguments(upload)
    _image_arguments(upload)
    _site_arguments(upload)

    submit = add("submit", "a run on a Kubeflow Pipelines endpoint", "pipelines:submit")
    _project_arguments(submit)
    _tune_argument(submit)
    submit.add_argument("--wait", action="store_true", help="follow the run to its end; exit as `sluice run`")
    submit.add_argument("--timeout", type=_positive, default=172800, metavar="SECONDS", help="with --wait: default 172800, two days")
    submit.add_argument("--quiet", action="store_true", help="show no progress")
    _endpoint_arguments(submit)
    _image_arguments(submit)
    _site_arguments(submit)

    serve = add("serve", "the model server on a package", "serve:serve")
    serve.add_argument("package", metavar="PACKAGE", help=_PACKAGE)
    _home_argument(serve)
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
    predict.add_argument("package", metavar="NAME", help=_PACKAGE)
    predict.add_argument(
        "file", metavar="FILE", help="CSV (any separator), JSON lines or Parquet; the rows as the source of the training rows has them"
    )
    predict.add_argument("-o", "--output", type=Path, metavar="OUT", help="default: FILE's name with .predictions in it, here")
    predict.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="what a row that cannot be used does; default: stop, and name its line"
    )
    predict.add_argument("--workers", type=_positive, help="default: the CPU quota")
    _home_argument(predict)

    explain = add("explain", "why a model answers rows as it does: what each column adds, by its package alone", "explain:explain")
    explain.add_argument("package", metavar="NAME", help=_PACKAGE)
    explain.add_argument("file", metavar="FILE", help="CSV (any separator), JSON lines or Parquet, as for predict")
    explain.add_argument(
        "--row",
        type=_positive,
        action="append",
        default=[],
        metavar="N",
        help="of the file, from 1; may be repeated; default: the first rows",
    )
    explain.add_argument("--limit", type=_positive, default=5, metavar="N", help="how many first rows; default 5")
    explain.add_argument("--label", metavar="L", help="whose probability is explained; default: the label that is answered")
    _home_argument(explain)

    models = add("models", "registered models, their versions and aliases", "history:models")
    models.add_argument("name", nargs="?")
    models.add_argument(
        "-n", "--namespace", metavar="NS", help="show beside them what serves there on the cluster, and where the two differ"
    )
    _home_argument(models)
    history = add("history", "past runs: their metric, how they ended, how long they took", "history:history")
    history.add_argument("name", nargs="?")
    history.add_argument("--limit", type=_positive, default=20)
    _home_argument(history)
    anchor = add("anchor", "the best champion so far, which candidates are compared with too; name another, with a reason", "anchor:anchor")
    anchor.add_argument("name", metavar="NAME", help="the model's name in the registry")
    anchor.add_argument("--set", metavar="VERSION", help="make this version (a number, or an alias such as champion) the anchor")
    anchor.add_argument("--reason", metavar="TEXT", help="with --set: why; it stands in the record and in the audit log")
    _home_argument(anchor)
    compare = add("compare", "two models side by side: settings, data and metrics that differ", "history:compare")
    compare.add_argument("a", metavar="A", help="NAME@champion, NAME@VERSION, or a digest")
    compare.add_argument("b", metavar="B")
    _home_argument(compare)

    promote = add(
        "promote",
        "a version to another environment: gated, with the record kept; here, on a cluster, or as one digest in a file",
        "promotion:promote",
    )
    promote.add_argument("name", metavar="NAME", help="NAME for the champion where it comes from, NAME@VERSION, or a digest")
    promote.add_argument("--to", required=True, metavar="ENV", help="dev, staging, production, or one of environments.yaml")
    promote.add_argument("--from", dest="source", metavar="ENV", help="default: the nearest before it that has a champion")
    promote.add_argument("--reason", metavar="TEXT", help="kept in the audit log")
    promote.add_argument("--override", action="store_true", help="set refusals aside; needs --reason, and is kept with your name")
    promote.add_argument("--dry-run", action="store_true", help="judge, and change nothing")
    promote.add_argument(
        "--data",
        type=_project_file,
        metavar="PROJECT",
        help="compare with the champion there again, on this project's test rows as they are now",
    )
    file = promote.add_mutually_exclusive_group()
    file.add_argument(
        "--write", type=Path, metavar="FILE", help="change the one digest in Helm values, a kustomization or a ModelRollout there"
    )
    file.add_argument("--patch", type=Path, metavar="FILE", help="only print that change, as `git apply` takes it")
    promote.add_argument("--key", metavar="A.B", help="with --write or --patch: which digest, where there are more")
    promote.add_argument("--wait", action="store_true", help="on a cluster: for the verdict; exit status 4 where it was rolled back")
    rollback = add("rollback", "put back what served before, in seconds: here, or on a cluster by its controller", "promotion:rollback")
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("--in", dest="environment", default="dev", metavar="ENV", help="default: dev")
    rollback.add_argument("--reason", metavar="TEXT", help="why; required, and kept with your name")
    rollback.add_argument("--to", dest="version", metavar="VERSION", help="another than the one before; not on a cluster")
    rollback.add_argument("--again", action="store_true", help="take back also one that a rollback put there")
    rollback.add_argument("--dry-run", action="store_true", help="say what would be done")
    rollback.add_argument("-n", "--namespace", metavar="NS", help="of the ModelRollout on the cluster; default: as environments.yaml says")
    for one in (promote, rollback):
        one.add_argument(
            "--environments", type=Path, metavar="FILE", help="default: $SLUICE_ENVIRONMENTS, else environments.yaml in the home"
        )
        _home_argument(one)

    audit = add("audit", "the story of a model back to its data, from the audit log; or is that log what was written", "audit:audit")
    audit.add_argument(
        "model", metavar="MODEL", help="NAME, NAME@VERSION or NAME@ALIAS; or the word verify: exit status 3 where it was changed"
    )
    audit.add_argument("--html", type=Path, metavar="FILE", help="write it as a page there")
    _home_argument(audit)

    inspect = add("inspect", "verify a package and show what it holds", "inspect:inspect")
    inspect.add_argument("package", metavar="PACKAGE", help=_PACKAGE)
    _home_argument(inspect)

    pairs = commands.add_parser("keys", help="keys to sign packages with")
    key_commands = pairs.add_subparsers(dest="key_command", metavar="COMMAND", required=True)
    new = add("new", "make a key pair: runs in the home sign with it", "proof:new", key_commands)
    new.add_argument("-o", "--output", type=Path, metavar="FILE", help="of the private key; default: keys/signing.pem in the home")
    _home_argument(new)
    shown = add("show", "the ids of public keys", "proof:show", key_commands)
    shown.add_argument("files", nargs="+", metavar="FILE")

    sign = add("sign", "sign a package in a store, with its record and its bill of materials", "proof:sign")
    sign.add_argument("package", metavar="PACKAGE", help=_PACKAGE)
    sign.add_argument("--key", type=Path, metavar="FILE", help="the private key; default: $SLUICE_SIGNING_KEY, else the home's own")
    _home_argument(sign)

    verify = add(
        "verify", "check a package, its record, its bill of materials and its signature; 3 where something is wrong", "proof:verify"
    )
    verify.add_argument("package", metavar="PACKAGE", help=_PACKAGE)
    verify.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a public key, or a folder of them: it must be signed by one; may be repeated; default: $SLUICE_TRUSTED_KEYS",
    )
    again = add("reproduce", "train a package again from its record, and compare bit for bit", "reproduce:reproduce")
    again.add_argument("package", metavar="PACKAGE", help=_PACKAGE)
    again.add_argument("--project", type=Path, metavar="DIR", help="the project's folder; default: the one it was made in")
    again.add_argument("--keep", action="store_true", help="keep what was made, for a look at it")
    again.add_argument("--quiet", action="store_true", help="show no progress")
    _home_argument(again)
    verify.add_argument("--require-signature", action="store_true", help="also without --key: by one of the home's keys")
    _home_argument(verify)

    data = commands.add_parser("data", help="look at a project's data")
    data_commands = data.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    check = add("check", "run the data checks alone", "data:check", data_commands)
    _project_arguments(check)
    infer = add("infer", "propose declared checks from the data", "data:infer", data_commands)
    _project_arguments(infer)
    infer.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write a file of rules instead, to review and name in data.schema_file"
    )
    infer.add_argument("--force", action="store_true", help="write over FILE")
    diff = add("diff", "what changed between two versions of data: columns, rows, cells, drift", "data_diff:diff", data_commands)
    what = "a file or any other source, a project, a dataset's folder or digest, NAME@champion"
    diff.add_argument("a", metavar="A", help=what)
    diff.add_argument("b", metavar="B", help="the same")
    diff.add_argument(
        "--key", action="append", default=[], metavar="COL", help="names a row; may be repeated; default: rows are told by content"
    )
    diff.add_argument("--tolerance", type=_fraction, default=0.0, metavar="F", help="fraction of rows that may differ; default 0")
    diff.add_argument(
        "--drift", type=_fraction, metavar="PSI", help="rows may differ: what counts is whether a column moved by more than this"
    )
    diff.add_argument("--sensitive", action="append", default=[], metavar="COL", help="show none of its values; may be repeated")
    _home_argument(diff)

    doctor = add("doctor", "what works and what does not, here and on the cluster, each with the command that mends it", "doctor:doctor")
    _home_argument(doctor)
    doctor.add_argument("--local", action="store_true", help="look at this machine alone")
    doctor.add_argument(
        "--no-pods", action="store_true", help="start no pod on the cluster: what steps and model servers reach from there is not asked"
    )
    doctor.add_argument("--timeout", type=_positive, default=10, metavar="SECONDS", help="for each look; default 10")
    doctor.add_argument("--pod-timeout", type=_positive, default=120, metavar="SECONDS", help="for each of the two pods; default 120")
    doctor.add_argument("--environment", metavar="NS", help="the namespace Sluice is installed in; default: $SLUICE_NAMESPACE, else sluice")
    _endpoint_arguments(doctor)

    rollout = commands.add_parser("rollout", help="a rollout, here or on the cluster")
    rollout_commands = rollout.add_subparsers(dest="rollout_command", metavar="COMMAND", required=True)
    for name, help_ in (
        ("status", "where it stands and why"),
        ("watch", "follow it live until it ends; exit status as of `sluice run`"),
        ("explain", "every decision with the numbers it stood on"),
        ("pause", "hold the weights"),
        ("resume", "go on after a pause"),
        ("abort", "roll back now"),
        ("promote", "promote now, without more evidence"),
        ("retry", "try the rejected model again, without training; here it ends as `sluice run` does"),
    ):
        one = add(name, help_, f"rollout:{name}", rollout_commands)
        one.add_argument("name", metavar="NAME")
        where = one.add_mutually_exclusive_group()
        _home_argument(where)
        where.add_argument("-n", "--namespace", metavar="NS", help="of a ModelRollout on the cluster; without it, a rollout in the home")
        if name == "retry":
            one.add_argument(
                "--set", action="append", default=[], dest="overrides", metavar="rollout.A=V", help="override a key of its plan; here only"
            )
            one.add_argument("--quiet", action="store_true", help="show no progress")
    return top


def _project_arguments(to: argparse.ArgumentParser, optional: str = "") -> None:
    help_ = "a project file, or the folder of its sluice.yaml" + (f"; {optional}" if optional else "")
    to.add_argument("project", type=_project_file, metavar="PROJECT", nargs="?" if optional else None, help=help_)
    to.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=V", help="override a key; may be repeated")


def _endpoint_arguments(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--endpoint",
        metavar="URL",
        help="of KFP's API, or in-cluster, or kubeconfig; default: $KF_PIPELINES_ENDPOINT, else what is at hand",
    )
    to.add_argument("--namespace", help="yours, where the endpoint has many users")
    to.add_argument("--token-file", type=Path, metavar="FILE", help="a bearer token; default: $KF_PIPELINES_TOKEN")
    to.add_argument("--context", help="of the kubeconfig; default: its current one")


def _tune_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tune", action="store_true", help="the tuning pipeline: search (`tune:`), then train with the best settings")


def _image_arguments(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--image", metavar="NAME@sha256:...", help="the image of the steps, by digest; default: $SLUICE_PIPELINE_IMAGE, else the cluster's"
    )
    to.add_argument(
        "--allow-tag", action="store_true", help="let the image be named by tag, on a cluster without a registry; nothing is cached then"
    )


def _site_arguments(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--environment",
        metavar="NS",
        help="the namespace Sluice is installed in, whose ConfigMap sluice-cluster says how steps reach things there; "
        "default: $SLUICE_NAMESPACE, else sluice",
    )
    to.add_argument("--offline", action="store_true", help="ask no cluster: the project's own `cluster:` section says everything")
    to.add_argument("--unchecked", action="store_true", help="let pass what the steps seem to lack: something else gives it to them")


def _project_file(text: str) -> Path:
    """A project file; of a folder, its ``sluice.yaml``."""
    path = Path(text)
    return path / PROJECT_FILE if path.is_dir() else path


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number


def _home_argument(to: argparse._ActionsContainer) -> None:
    to.add_argument("--home", type=Path, help="default: $SLUICE_HOME, else .sluice")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        return _handler(args.handler)(args)
    except SluiceError as e:
        return fail(e, args.json)
    except KeyboardInterrupt:
        print("sluice: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


def fail(error: SluiceError, as_json: bool) -> int:
    """Say what went wrong; returns the exit status."""
    if as_json:
        show_json({"outcome": "failed", **error.to_dict()})
    print(f"sluice: {error}", file=sys.stderr)
    return error.exit_code


def show_json(value: Any) -> None:
    print(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2, default=str).decode())


def _handler(name: str) -> Handler:
    from importlib import import_module

    module, _, function = name.partition(":")
    found: Handler = getattr(import_module(f"sluice.commands.{module}"), function)
    return found


def checkout_command(name: str) -> Any:
    """Code of a command that lives outside the library (group ``sluice.commands``).

    Raises:
        ProjectError: only the wheel is installed.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="sluice.commands", name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as e:
            if e.name and e.name.split(".")[0] in ("pipelines", "components", "serving"):
                break
            raise ProjectError(
                f"needs the package {e.name}, which is not installed", field=f"sluice {name}", fix="pip install 'sluice-ml[all]'"
            ) from e
    raise ProjectError(
        "runs from a checkout or one of the images: the wheel holds the library only",
        field=f"sluice {name}",
        fix="git clone the project and `make setup`, or use the pipeline image",
    )


if __name__ == "__main__":
    sys.exit(main())
