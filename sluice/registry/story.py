"""The story of a model, told back to its data: what it was made of, what each gate said, where it went, who decided, in order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from sluice.audit.log import ANCHOR, AuditLog, anchors
from sluice.audit.record import Record
from sluice.audit.verify import Fault, Head, verify
from sluice.core.errors import ProjectError
from sluice.core.home import Home
from sluice.registry.versions import Registry, Version
from sluice.registry.witness import begun_anew, disagreements

#: What a version was made of, by tag, in words.
_MADE = {
    "sluice.data": "data digest",
    "sluice.config": "configuration digest",
    "sluice.code": "code digest",
    "sluice.git": "git commit",
    "sluice.precision": "precision",
}
#: Lines of figures below an event, on a terminal; the page and --json have them all.
_FIGURES = 6
#: Characters of one value, and values of one part of the evidence, that are told.
_LONG, _MOST = 300, 16


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        sequence: of its record in the audit log. when: UTC. who, kind, what: for a person. version: it is about, as far as that is known.
        told: the figures it stood on, by name. by: the record, whole.
    """

    sequence: int
    when: str
    who: str
    kind: str
    what: str
    version: str
    told: Mapping[str, str]
    record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Story:
    """All that is known of a model, or of one of its versions.

    Attributes:
        model: its name. versions: oldest first. events: in order. log: where they are written. faults: of that log, and of what it bears witness to.
    """

    model: str
    versions: Sequence[Version]
    events: Sequence[Event]
    log: str
    faults: Sequence[Fault]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "log": self.log,
            "whole": not self.faults,
            "faults": [dataclasses.asdict(f) for f in self.faults],
            "versions": [
                {
                    "version": v.number,
                    "digest": v.digest,
                    "uri": v.uri,
                    "aliases": list(v.aliases),
                    "registered": _moment(v.created),
                    "made_of": made_of(v),
                    "metrics": v.metrics,
                }
                for v in self.versions
            ],
            "events": [dataclasses.asdict(e) for e in self.events],
        }


def tell(reference: str, registry: Registry, log: AuditLog, home: Home) -> Story:
    """The story of ``NAME``, ``NAME@VERSION`` or ``NAME@ALIAS``.

    Raises:
        ProjectError: no such model or version. AuditError, RegistryFault: one of the two cannot be read.
    """
    name, at, which = reference.partition("@")
    every = registry.versions(name)
    kept = [v for v in every if which in ("", v.number, *v.aliases)]
    lines, head = log.read()
    read = readable(lines)
    if not kept and (at or not any(r.entry.model == name for r in read)):
        known = sorted({*registry.models(), *(r.entry.model for r in read if r.entry.model)})
        there = ", ".join(f"{name}@{v.number}" for v in every) or f"models: {', '.join(known) or 'none'}"
        raise ProjectError("no such model" if not at else "no such version", field="MODEL", value=reference, fix=f"there is {there}")
    about = [r for r in read if r.entry.model == name or r.entry.kind == "repair"]
    runs = _runs(about)
    digests = {v.digest: v.number for v in every}
    events = [_event(r, _version_of(r, runs, digests)) for r in about]
    if at:
        numbers = {v.number for v in kept}
        events = [e for e in events if e.version in numbers or set(e.record["data"].get("versions") or ()) & numbers]
    heads = named(registry, [name])
    faults = [*verify(lines, head, heads), *begun_anew(heads, log.identity(), [name]), *disagreements(name, registry, read, home)]
    return Story(name, sorted(kept, key=lambda v: int(v.number)), events, log.where, faults)


def named(registry: Registry, models: Iterable[str]) -> list[Head]:
    """The records of an audit log that versions in the registry name. Raises `RegistryFault`."""
    return anchors((f"{v.model}@{v.number} in the registry", v.tags.get(ANCHOR, "")) for m in models for v in registry.versions(m))


def made_of(version: Version) -> dict[str, str]:
    """Digests and commit of a version, by what they are of."""
    return {words: version.tags[tag] for tag, words in _MADE.items() if version.tags.get(tag)}


def readable(lines: Sequence[bytes]) -> list[Record]:
    """The records that can be read, in the log's order."""
    out = []
    for line in lines:
        try:
            out.append(Record.read(line))
        except (ValueError, TypeError):
            continue
    return out


def _runs(about: Sequence[Record]) -> dict[str, str]:
    """Digest by run, of those that registered one."""
    return {str(r.entry.data["run"]): r.entry.digest for r in about if r.entry.digest and r.entry.data.get("run")}


def _version_of(record: Record, runs: Mapping[str, str], digests: Mapping[str, str]) -> str:
    digest = record.entry.digest or runs.get(str(record.entry.data.get("run", "")), "")
    return digests.get(digest, str(record.entry.data.get("version", "")))


def _event(record: Record, version: str) -> Event:
    e = record.entry
    data = e.data
    what = e.reason
    if data.get("step"):
        kind = f"{e.kind} {data['step']}" if e.kind == "gate" else e.kind
        what = f"{data.get('decision', '')}" + (f": {e.reason}" if e.reason else "")
    else:
        kind = e.kind + (f" {data['what']}" if data.get("what") else "") + (f" in {e.environment}" if e.environment else "")
    when = record.time[:19].replace("T", " ")
    return Event(record.sequence, when, e.user, kind, what, version, _told(data), record.to_dict())


def _told(data: Mapping[str, Any]) -> dict[str, str]:
    """The figures worth a line: plain values at the top of the evidence, and one step below it."""
    evidence = data.get("evidence")
    found: dict[str, str] = {}
    for key, value in (evidence if isinstance(evidence, Mapping) else data).items():
        if key in ("run", "step", "decision", "seconds", "sha256", "what", "versions"):
            continue
        parts = [(f"{key}.{k}", v) for k, v in value.items()] if isinstance(value, Mapping) else [(key, value)]
        for name, part in parts if len(parts) <= _MOST else ():
            if isinstance(part, str | int | float | bool) and part != "":
                found[name] = f"{part:.6g}" if isinstance(part, float) else str(part)[:_LONG]
            elif isinstance(part, list) and part and all(isinstance(x, str | int | float) for x in part):
                found[name] = ", ".join(map(str, part))[:_LONG]
    return found


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def text(story: Story) -> str:
    """For a terminal, as Markdown."""
    lines = [f"# {story.model}", ""]
    if story.faults:
        lines += ["**Something is not what was written:**", *(f"- {f}" for f in story.faults[:20]), ""]
    for v in story.versions:
        stands = f" ({', '.join(v.aliases)})" if v.aliases else ""
        lines += [f"## version {v.number}{stands}", f"- package: sha256:{v.digest}", f"- kept at: {v.uri}"]
        lines += [f"- {words}: {value}" for words, value in made_of(v).items()]
        if v.metrics:
            lines.append("- metrics: " + ", ".join(f"{k} {x:.4g}" for k, x in sorted(v.metrics.items())))
        lines.append("")
    lines += ["## what happened (UTC)"]
    for e in story.events:
        of = f" [version {e.version}]" if e.version else ""
        lines.append(f"- {e.when} {e.who}: **{e.kind}**{of} {e.what}".rstrip())
        lines += [f"    - {name}: {value}" for name, value in list(e.told.items())[:_FIGURES]]
    if not story.events:
        lines.append(f"- nothing in {story.log}: it began after this model was made, or is another place's ($SLUICE_AUDIT)")
    whole = "whole" if not story.faults else f"{len(story.faults)} faults, see above"
    return "\n".join([*lines, "", f"audit log: {story.log} ({whole})"])


def html(story: Story) -> str:
    """A page of its own."""
    from sluice.report.page import document
    from sluice.report.tables import Html, table

    def code(value: str) -> Html:
        return Html(f"<code>{escape(value)}</code>")

    out = f"<h1>{escape(story.model)}: its story</h1>"
    if story.faults:
        faults = "".join(f"<li>{escape(str(f))}</li>" for f in story.faults)
        out += f'<section><h2>Something is not what was written<span class="badge no">changed</span></h2><ul class="reasons">{faults}</ul></section>'
    for v in story.versions:
        rows: list[list[Any]] = [
            ["package", code(f"sha256:{v.digest}")],
            ["kept at", code(v.uri)],
            ["registered (UTC)", _moment(v.created)],
        ]
        rows += [[words, code(value)] for words, value in made_of(v).items()]
        rows += [[name, value] for name, value in sorted(v.metrics.items())]
        stands = f" ({', '.join(v.aliases)})" if v.aliases else ""
        out += f"<section><h2>Version {escape(v.number + stands)}</h2>{table(['', ''], rows)}</section>"
    happened = [
        [
            e.when,
            e.who,
            e.version,
            Html(f"<b>{escape(e.kind)}</b>"),
            Html(
                escape(e.what)
                + (
                    f"<details><summary>{len(e.told)} figure{'' if len(e.told) == 1 else 's'}</summary>"
                    + table(["", ""], [[name, value] for name, value in e.told.items()])
                    + f"<pre>{escape(json.dumps(e.record, indent=1, ensure_ascii=False))}</pre></details>"
                    if e.told
                    else ""
                )
            ),
        ]
        for e in story.events
    ]
    out += f"<section><h2>What happened</h2>{table(['when (UTC)', 'who', 'version', 'what', ''], happened)}</section>"
    return document(f"{story.model}: its story", out + f'<p class="note">audit log: {escape(story.log)}</p>')
