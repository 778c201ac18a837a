"""The model registry: versions named by package digest, aliases ``champion``, ``previous``, ``candidate`` and ``anchor``."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sluice.core.errors import SluiceError, first_line
from sluice.tracking.logged import drop, log_model, tell_version
from sluice.tracking.mlflow import client

if TYPE_CHECKING:
    from sluice.registry.rest import Rest
    from sluice.tracking.card import Card

CHAMPION = "champion"
CANDIDATE = "candidate"
PREVIOUS = "previous"
#: The best champion so far (`sluice.registry.anchor`).
ANCHOR = "anchor"
#: Tries, doubling pauses from a tenth of a second, while another process writes to an SQLite file.
_BUSY_TRIES = 8
_MAY_MISS = ("get_registered_model", "delete_registered_model_alias", "get_run")
_DIGEST = "sluice.digest"
_URI = "sluice.uri"
#: Models of a page of a list.
_PAGE = 1000
_METRIC = "sluice.metric."
_LOGGED = "sluice.logged_model"


@dataclasses.dataclass(frozen=True)
class Version:
    """A registered model version.

    Attributes:
        number: the registry's version number, as text.
        digest: the package digest.
        uri: where the package is stored.
        created: milliseconds since 1970.
    """

    model: str
    number: str
    digest: str
    uri: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]
    run_id: str | None
    created: int


class RegistryFault(SluiceError):
    """The registry did not answer, or refused.

    Attributes:
        away: it did not answer, and may do so another time.
    """

    away = False


class Registry:
    """MLflow's registry through its client, or through one that answers as it does.

    Args:
        uri: where it is. connection: `rest.Rest`, for a program without `mlflow`; None: MLflow's own client.

    Raises (all methods):
        RegistryFault: the registry did not answer, or refused.
    """

    def __init__(self, uri: str, connection: Rest | None = None):
        self.uri = uri
        self.note = ""
        self._client: Any = client(uri) if connection is None else connection

    def _call(self, what: str, method: str, *args: Any, **kwargs: Any) -> Any:
        attempt = 0
        while True:
            try:
                return getattr(self._client, method)(*args, **kwargs)
            except Exception as e:  # an MlflowException or a RestFault: both have MLflow's word for it
                code = getattr(e, "error_code", None)
                if code is None:
                    raise
                if code == "RESOURCE_DOES_NOT_EXIST" and method in _MAY_MISS:
                    return None
                if code == "RESOURCE_ALREADY_EXISTS" and method == "create_registered_model":
                    return None
                attempt += 1
                if attempt < _BUSY_TRIES and "database is locked" in str(e):
                    time.sleep(0.05 * 2**attempt)
                    continue
                fault = RegistryFault(
                    f"the model registry could not {what}: {first_line(e)}",
                    field="tracking.uri",
                    value=self.uri,
                    fix="is the server up, and may this user write there?",
                )
                fault.away = bool(getattr(e, "away", False))
                raise fault from e

    def register(
        self,
        model: str,
        digest: str,
        uri: str,
        *,
        metrics: Mapping[str, float | None],
        tags: dict[str, str],
        run_id: str | None,
        card: Card | None = None,
    ) -> Version:
        """The version of a package; a package registered before keeps its version, also where two processes register it at once.

        With a `card` it has a description and a logged model with signature and files; where MLflow takes none, `note` says why.
        """
        self.note = ""
        known = self.by_digest(model, digest)
        if known:
            return known
        if self._call("look the model up", "get_registered_model", model) is None:
            self._call("create the model", "create_registered_model", model)
        every = {_DIGEST: digest, _URI: uri, **tags, **{_METRIC + k: repr(float(v)) for k, v in metrics.items() if v is not None}}
        logged = None
        if card is not None and run_id:
            logged, self.note = log_model(self._client, run_id, card, uri)
        more: dict[str, Any] = {"description": card.description()} if card else {}
        if logged:  # the version's files are then the logged model's, which the server can show; the package's address is a tag
            more["model_id"] = every[_LOGGED] = logged.id
        made = self._call(
            "register the version", "create_model_version", model, logged.location if logged else uri, run_id=run_id, tags=every, **more
        )
        # The registry has no "unless it is there": of two made at once the first stays, and both processes see which that is.
        first = self.by_digest(model, digest)
        if first is not None and int(first.number) < int(made.version):
            self._call("take the version back", "delete_model_version", model, str(made.version))
            if logged:
                drop(self._client, logged.id)
            return first
        if logged:
            tell_version(self._client, logged.id, model, str(made.version))
        return self._version(made, ())

    def versions(self, model: str) -> list[Version]:
        """Every version, newest first."""
        found = self._call("look the model up", "get_registered_model", model)
        if found is None:
            return []
        names: dict[str, list[str]] = {}
        for alias, number in dict(found.aliases).items():
            names.setdefault(str(number), []).append(alias)
        versions = [self._version(v, tuple(sorted(names.get(str(v.version), ())))) for v in self._pages(f"name='{model}'")]
        return sorted(versions, key=lambda v: int(v.number), reverse=True)

    def every(self) -> dict[str, list[Version]]:
        """Every version of every model, newest first, by the models' names in their order: in so many calls as the lists have pages, and not one a model."""
        known = self._models()
        names: dict[tuple[str, str], list[str]] = {}
        for m in known:
            for alias, number in dict(m.aliases).items():
                names.setdefault((m.name, str(number)), []).append(alias)
        out: dict[str, list[Version]] = {m.name: [] for m in sorted(known, key=lambda m: str(m.name))}
        for v in self._pages("") if out else ():
            if v.name in out:
                out[v.name].append(self._version(v, tuple(sorted(names.get((v.name, str(v.version)), ())))))
        return {name: sorted(found, key=lambda v: int(v.number), reverse=True) for name, found in out.items()}

    def _pages(self, asked: str) -> list[Any]:
        """All versions that a filter holds for, as the registry has them."""
        found, token = [], None
        while True:
            got = self._call("list versions", "search_model_versions", asked, max_results=_PAGE, page_token=token)
            found += list(got)
            token = got.token
            if not token:
                return found

    def by_digest(self, model: str, digest: str) -> Version | None:
        """The first version of a package. None when it was never registered."""
        return min((v for v in self.versions(model) if v.digest == digest), key=lambda v: int(v.number), default=None)

    def of_digest(self, digits: str) -> list[Version]:
        """The versions of any model whose package's digest begins so; the registry itself looks for them."""
        if re.fullmatch(r"[0-9a-f]{1,64}", digits) is None:
            return []
        names, token = set[str](), None
        while True:
            asked = f"tags.`{_DIGEST}` LIKE '{digits}%'"
            page = self._call("look for a digest", "search_model_versions", asked, max_results=_PAGE, page_token=token)
            names |= {v.name for v in page}
            token = page.token
            if not token:
                return [v for name in sorted(names) for v in self.versions(name) if v.digest.startswith(digits)]

    def by_alias(self, model: str, alias: str) -> Version | None:
        """The version an alias points at. None when there is no such model, alias or version."""
        return next((v for v in self.versions(model) if alias in v.aliases), None)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Have an alias name a version, whatever it named before."""
        self._call(f"set alias {alias}", "set_registered_model_alias", model, alias, number)

    def prompt(self, name: str, template: list[dict[str, Any]], *, tags: dict[str, str], response_format: Any = None) -> str:
        """A new version of a prompt in MLflow's prompt registry; returns its number."""
        made = self._call("keep the prompt", "register_prompt", name, template, tags=tags, response_format=response_format)
        return str(made.version)

    def set_prompt_alias(self, name: str, alias: str, number: str) -> None:
        """Of a prompt's version."""
        self._call(f"set alias {alias} of the prompt", "set_prompt_alias", name, alias, int(number))

    def drop_alias(self, model: str, alias: str, number: str | None = None) -> None:
        """Take an alias away; with `number` only from that version: another run may have given it to its own."""
        if number is None or number in [v.number for v in self.versions(model) if alias in v.aliases]:
            self._call(f"drop alias {alias}", "delete_registered_model_alias", model, alias)

    def tag(self, model: str, number: str, tags: dict[str, str]) -> None:
        """Set tags of a version, over what they were."""
        for key, value in tags.items():
            self._call("tag the version", "set_model_version_tag", model, number, key, value)

    def model_tags(self, model: str) -> dict[str, str]:
        """The tags of a model's name; empty where there is no such model."""
        found = self._call("look the model up", "get_registered_model", model)
        return {} if found is None else dict(found.tags)

    def tag_model(self, model: str, tags: Mapping[str, str]) -> None:
        """Tag a model's name, which has a version already."""
        for key, value in tags.items():
            self._call("tag the model", "set_registered_model_tag", model, key, value)

    def settings(self, version: Version) -> dict[str, str]:
        """The project's settings, defaults filled in, that a version was trained with: dotted key -> text; empty where its run is not known."""
        run = self._call("look the run up", "get_run", version.run_id) if version.run_id else None
        return {} if run is None else dict(run.data.params)

    def page(self, version: Version) -> str | None:
        """Its page in MLflow, opened as model training whatever the browser was last used for; null where the registry is a database."""
        if not self.uri.startswith(("http://", "https://")):
            return None
        return f"{self.uri.rstrip('/')}/#/models/{quote(version.model, safe='')}/versions/{version.number}?workflowType=machine_learning"

    def models(self) -> list[str]:
        """Names of all models, sorted."""
        return sorted(m.name for m in self._models())

    def _models(self) -> list[Any]:
        found, token = list[Any](), None
        while True:
            page = self._call("list models", "search_registered_models", max_results=_PAGE, page_token=token)
            found += list(page or ())
            token = getattr(page, "token", None)
            if not token:
                return found

    def _version(self, v: Any, aliases: tuple[str, ...]) -> Version:
        tags = dict(v.tags)
        metrics = {k.removeprefix(_METRIC): float(x) for k, x in tags.items() if k.startswith(_METRIC)}
        return Version(
            model=v.name,
            number=str(v.version),
            digest=tags.get(_DIGEST, ""),
            uri=tags.get(_URI, v.source),
            aliases=aliases,
            metrics=metrics,
            tags=tags,
            run_id=v.run_id or None,
            created=int(v.creation_timestamp),
        )
