"""What a person names to be adopted: an ONNX file, a model that MLflow keeps, or a KServe InferenceService."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sluice.core import yamlfile
from sluice.core.errors import MissingExtra, ProjectError, SluiceError, first_line

#: Bytes of an ``MLmodel`` or a manifest that are read, and of one model's files.
_TEXT, _FILES = 8 << 20, 4 << 30
MLMODEL = "MLmodel"
_MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")


@dataclasses.dataclass(frozen=True)
class Found:
    """A model's files on this machine.

    Attributes:
        root: an ONNX file, or the folder of an ``MLmodel``.
        said: what the person wrote, for errors and provenance.
        mlmodel: the ``MLmodel``; empty for an ONNX file.
        service: the InferenceService that serves it; None where none was named.
    """

    root: Path
    said: str
    mlmodel: Mapping[str, Any]
    service: Mapping[str, Any] | None = None

    @property
    def flavours(self) -> list[str]:
        """What it can be loaded as."""
        return list(self.mlmodel.get("flavors") or {}) if self.mlmodel else ["onnx"]


def find(source: str, keep: ExitStack, service: Mapping[str, Any] | None = None) -> Found:
    """The files of what a person named; what is fetched lies in a folder that goes with `keep`.

    Raises:
        ProjectError: nothing is there, or nothing that can be adopted.
    """
    path = Path(unquote(urlparse(source).path) if source.startswith("file://") else source)
    if source.startswith("s3://"):
        return _local(_fetch(source, keep), source, service)
    if source.startswith(_MLFLOW):
        return _local(_download(source, keep), source, service)
    if path.suffix in (".yaml", ".yml") and path.is_file() and service is None:
        return _of_service(path, keep)
    return _local(path, source, service)


def _local(path: Path, said: str, service: Mapping[str, Any] | None) -> Found:
    if path.is_file() and path.suffix == ".onnx":
        return Found(path, said, {}, service)
    if (path / MLMODEL).is_file():
        return Found(path, said, _yaml(path / MLMODEL, said), service)
    files = sorted(path.rglob("*.onnx"))[:3] if path.is_dir() else []  # a folder as Triton's and KServe's runtimes have it
    if len(files) == 1:
        return Found(files[0], said, {}, service)
    if files:
        raise ProjectError("holds several ONNX files", field="SOURCE", value=said, fix=f"name one: {files[0]}")
    why = "holds no MLmodel and no .onnx file" if path.is_dir() else "is no .onnx file" if path.exists() else "is not there"
    raise ProjectError(
        why,
        field="SOURCE",
        value=said,
        fix="an .onnx file, an MLflow model (a folder with MLmodel, models:/NAME/1), an InferenceService.yaml",
    )


def _yaml(path: Path, said: str) -> Mapping[str, Any]:
    if path.stat().st_size > _TEXT:
        raise ProjectError(f"is larger than {_TEXT} bytes", field=str(path), value=path.stat().st_size)
    try:
        found = yamlfile.load(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as e:
        raise ProjectError(f"cannot be read: {e}", field=str(path)) from e
    if not isinstance(found, dict):
        raise ProjectError("is no mapping", field=said, value=found)
    return found


def _of_service(path: Path, keep: ExitStack) -> Found:
    """What an InferenceService's predictor serves."""
    service = _yaml(path, str(path))
    if service.get("kind") != "InferenceService" or not str(service.get("apiVersion", "")).startswith("serving.kserve.io/"):
        raise ProjectError("is no InferenceService", field=str(path), value=f"{service.get('apiVersion')} {service.get('kind')}")
    predictor = (service.get("spec") or {}).get("predictor")
    model = predictor.get("model") if isinstance(predictor, dict) else None
    model = (
        model if isinstance(model, dict) else next((v for v in (predictor or {}).values() if isinstance(v, dict) and "storageUri" in v), {})
    )
    uri = model.get("storageUri")
    if not isinstance(uri, str) or not uri:
        raise ProjectError(
            "has no storageUri: what its container runs cannot be read as a model",
            field=f"{path}: spec.predictor.model.storageUri",
            fix="name the model's files themselves: sluice import FILE.onnx",
        )
    if "://" not in uri and not Path(uri).is_absolute():
        uri = str(path.parent / uri)
    return find(uri, keep, service)


def _fetch(uri: str, keep: ExitStack) -> Path:
    """An object, or every object below a prefix, of an S3 store."""
    from sluice.core.s3 import Place, StoreFault

    folder = Path(keep.enter_context(tempfile.TemporaryDirectory(prefix="sluice-import-")))
    single = uri.endswith(".onnx")
    base, name = uri.rsplit("/", 1) if single else (uri.rstrip("/"), "")
    try:
        place, left = Place(base, "SOURCE"), _FILES
        for key, size in [(name, 0)] if single else list(place.list()):
            left -= size
            target = (folder / key).resolve()
            if left < 0:
                raise ProjectError(f"holds more than {_FILES} bytes", field="SOURCE", value=uri)
            if target.is_relative_to(folder.resolve()) and not key.endswith("/"):
                place.fetch(key, target, _FILES)
    except StoreFault as e:
        raise e.told(ProjectError, "SOURCE", value=uri) from e
    except ValueError as e:
        raise ProjectError(str(e), field="SOURCE", value=uri, fix="s3://bucket/path/of/the/model") from e
    return folder / name if single else folder


def _download(uri: str, keep: ExitStack) -> Path:
    """A model that MLflow keeps, by its own client."""
    try:
        import mlflow.artifacts
    except ImportError:
        raise MissingExtra("a model that MLflow keeps needs its client", field="SOURCE", fix="pip install 'sluice-ml[tracking]'") from None
    folder = keep.enter_context(tempfile.TemporaryDirectory(prefix="sluice-import-"))
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
    except SluiceError:
        raise
    except Exception as e:
        raise ProjectError(
            f"MLflow does not give it: {first_line(e)}", field="SOURCE", value=uri, fix="MLFLOW_TRACKING_URI names the server"
        ) from e
