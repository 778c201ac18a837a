"""YAML and JSON from outside, read exactly and within bounds.

JSON is read as JSON: YAML folds the line break that U+0085 is to it, and refuses characters that JSON may hold.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import orjson
import yaml

from sluice.core import files
from sluice.core.errors import ProjectError

#: Characters of a YAML text (which is slow to read) and of a JSON one.
MOST_YAML, MOST_JSON = 1 << 18, 1 << 22
#: Bytes of JSON above which `line` leaves it as it is: YAML is slow.
_MOST_LINE = 1 << 16
#: Values in it, what aliases repeat counted as often as they do; and how deep they lie.
MOST_VALUES, MOST_DEPTH = 50_000, 64

#: What YAML refuses in a text, and the line breaks it knows beside ours: they would become spaces.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_LARGEST = 2**63


class Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans (``5e-5`` is a number, ``no`` is a word), no key twice, and no more than the bounds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node, within the limits on depth and on values, those that aliases repeat counted. Raises `ProjectError`."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise ProjectError("an alias stands inside what it names", field=line, value=event.anchor, fix="write the value out")
            self._values += self._sizes[id(node)]
        else:
            self._depth += 1
            if self._depth > MOST_DEPTH:
                raise ProjectError(f"is nested more than {MOST_DEPTH} deep", field=line, fix="take brackets or indentation out")
            before, self._values = self._values, self._values + 1
            node = super().compose_node(parent, index)
            self._depth -= 1
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            raise ProjectError(
                f"holds more than {MOST_VALUES:,} values, those that aliases repeat counted", field=line, fix="repeat less with * and <<"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are texts as they are written, none twice. Raises `ProjectError`."""
        self.flatten_mapping(node)
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag in _KEYS:  # ``{0: 1.5}``: a key is a name, as in JSON, in the spelling it has
                key.tag = "tag:yaml.org,2002:str"
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise ProjectError(
                    "a key is a word", field=f"line {key.start_mark.line + 1}", value=name, fix="write a name before the colon"
                )
            if name in seen:
                raise ProjectError("stands twice", field=f"line {key.start_mark.line + 1}: {name}", fix="keep one of them")
            seen.add(name)
        return super().construct_mapping(node, deep)


_KEYS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool"))
_OTHERS = ("bool", "int", "float", "timestamp")
Loader.yaml_implicit_resolvers = {
    k: [r for r in v if r[0].rpartition(":")[2] not in _OTHERS] for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), list("-+.0123456789")
)


class Dumper(yaml.SafeDumper):
    """Quotes every text that `Loader`, or a reader of YAML 1.1, would take for something else: ``08`` and ``1e5`` as well as ``no``."""


Dumper.yaml_implicit_resolvers = {
    k: [*yaml.SafeDumper.yaml_implicit_resolvers.get(k, []), *Loader.yaml_implicit_resolvers.get(k, [])]
    for k in {*yaml.SafeDumper.yaml_implicit_resolvers, *Loader.yaml_implicit_resolvers}
}


def dump(value: Any, *, flow: bool = False, width: int = 120) -> str:
    """A value as YAML for people, keys in their order. `flow`: on one line as far as `width` goes, in braces and brackets."""

    def written(plain: bool) -> str:
        return str(yaml.dump(value, Dumper=Dumper, default_flow_style=flow, sort_keys=False, allow_unicode=plain, width=width))

    text = written(True)
    return written(False) if _NO_TEXT.search(text) else text  # U+0085 and its like as escapes


def line(value: Any) -> str:
    """A JSON value on one line, with as few quotes as YAML asks for; `load` gives the same value back.

    For what a workflow carries along: there a text stands inside JSON inside JSON, and each quote of it takes eight bytes. Two braces are
    a template's tag to Argo, which sees every argument: a text with them is written as JSON, where one of the two can be escaped.
    """
    plain = files.canonical_json(value)
    if len(plain) <= _MOST_LINE and b"{{" not in plain:
        text = dump(orjson.loads(plain), flow=True, width=1 << 30).rstrip("\n")
        with contextlib.suppress(ProjectError):
            if "\n" not in text and files.canonical_json(load(text, "")) == plain:  # 1 and 1.0 and true are not the same
                return text
    return re.sub(r"\{(?=\{)", r"\\u007b", plain.decode())


def load(text: str, where: str) -> Any:
    """The value a JSON or YAML text holds; every character of it is what was written.

    Args:
        where: what to call the text in errors.

    Raises:
        ProjectError: neither; a key twice; a control character that YAML does not keep; larger or deeper than the bounds.
    """
    if len(text) > MOST_JSON:
        raise _too_long(text, where, MOST_JSON)
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return _plain(json.loads(text.lstrip("\ufeff"), object_pairs_hook=_once, parse_constant=_no_number), where)
        except RecursionError:
            raise ProjectError(f"is nested more than {MOST_DEPTH} deep", field=where, fix="take brackets out") from None
        except ProjectError as e:
            raise ProjectError(
                e.message,
                field=f"{where}: {e.field}" if e.field and e.field != where else where,
                fix=e.fix,
                **({"value": e.value} if e.has_value else {}),
            ) from None
        except ValueError:
            pass  # YAML's own braces need no quotes
    if len(text) > MOST_YAML:
        raise _too_long(text, where, MOST_YAML)
    bad = _NO_TEXT.search(text)
    if bad:
        line, begin = text.count("\n", 0, bad.start()) + 1, text.rfind("\n", 0, bad.start()) + 1
        code = ord(bad[0])
        raise ProjectError(
            f"holds the control character U+{code:04X}, which YAML does not keep",
            field=f"{where}:{line}:{bad.start() - begin + 1}",
            fix=f'write the text in double quotes, and "\\{f"x{code:02X}" if code < 256 else f"u{code:04X}"}" for the character',
        )
    try:
        return _plain(yaml.load(text, Loader), where)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        at = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ProjectError(
            f"is not YAML: {getattr(e, 'problem', None) or e}", field=at, fix="check indentation, colons and quotes there"
        ) from e
    except (ValueError, RecursionError) as e:  # a number of thousands of digits, a date that is none
        raise ProjectError(f"is not YAML: {e}", field=where, fix="quote what is meant as text") from e


def _too_long(text: str, where: str, most: int) -> ProjectError:
    return ProjectError(
        f"has {len(text):,} characters, a project file has at most {most:,}", field=where, fix="keep data in files beside it"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [k for k, _ in pairs]
        raise ProjectError("stands twice", field=next(k for k in names if names.count(k) > 1), fix="keep one of them")
    return made


def _no_number(text: str) -> Any:
    raise ProjectError("is no number of JSON", value=text, fix="write a finite number")


def _plain(value: Any, where: str) -> Any:
    """The value, if it can be written as JSON again. Raises `ProjectError`."""
    inside = [(value, 1)]
    while inside:
        at, depth = inside.pop()
        if depth > MOST_DEPTH:
            raise ProjectError(f"is nested more than {MOST_DEPTH} deep", field=where, fix="take brackets out")
        if isinstance(at, str) and not at.isascii() and re.search("[\ud800-\udfff]", at):
            raise ProjectError("holds half of a character (a lone surrogate)", field=where, value=at, fix="write the whole character")
        if isinstance(at, int) and not -_LARGEST <= at < _LARGEST:
            raise ProjectError("is a number of more than 64 bits", field=where, value=at, fix="quote it if it is a name")
        if isinstance(at, dict):
            inside += [(k, depth) for k in at] + [(v, depth + 1) for v in at.values()]
        elif isinstance(at, list):
            inside += [(v, depth + 1) for v in at]
    return value
