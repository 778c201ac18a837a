"""Items of a prompt from the forms in which conversations, instructions and questions with answers are usually kept.

Forms: OpenAI's and Hugging Face's chat rows (``messages`` with ``role`` and ``content``), ShareGPT's (``conversations`` with ``from`` and
``value``), TRL's prompts, completions and preferences as texts or as messages, Alpaca's instructions, and columns of questions and answers.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from sluice.core.errors import DataError, ProjectError, first_line
from sluice.core.spelling import value_text
from sluice.data.forms import form_of_files, format_of
from sluice.data.opening import lines_of, not_empty, opened
from sluice.data.scheme import Found

#: The column of the answer in what is written.
ANSWER = "answer"
#: Rows and bytes that are read of a file, and rows by which its form is told.
MOST_ROWS, _MOST_BYTES, _LOOKED = 200_000, 512 << 20, 200
#: What columns of messages are called, what their turns' keys are, and who speaks.
_CHATS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
_WHO, _WHAT = ("role", "from", "speaker"), ("content", "value", "text")
_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt"), "assistant"),
}
#: What columns of texts are called: who is asked what, about what, and the answer; the likeliest first.
_ASKED = ("instruction", "prompt", "question", "query", "user", "request", "problem")
_ABOUT = ("input", "context", "passage", "document", "article")
_SYSTEM = ("system", "system_prompt")
_ANSWERS = (
    "completion",
    "response",
    "output",
    "chosen",
    "answer",
    "answers",
    "ideal",
    "expected",
    "expected_output",
    "target",
    "reference",
    "solution",
)
#: Pairs of a question's column and an answer's that are hardly anything else.
_SURE = {(asked, answer) for asked in ("instruction", "prompt") for answer in ("completion", "response", "output", "chosen")}


class _Left(Exception):
    """Why a row makes no item."""


@dataclasses.dataclass(frozen=True)
class Items:
    """What a file holds for a prompt.

    Attributes:
        form: what was recognised, in words.
        rows: an item each: texts by variable, and the answer wanted under `ANSWER`, null where there is none.
        optional: variables that not every item has.
        system, user: templates of the messages.
        left: why rows are left out -> how many.
        asked: the variable that holds the question.
    """

    form: str
    rows: list[dict[str, str | None]]
    optional: frozenset[str]
    system: str
    user: str
    left: dict[str, int]
    asked: str

    @property
    def variables(self) -> list[str]:
        """In the order of the template."""
        return [n for n in (self.rows[0] if self.rows else {}) if n != ANSWER]


def items_of(path: Path, label: str | None = None, *, sure: bool = False) -> Items | None:
    """The items that a file holds; None where its form is none of those that are known.

    Args:
        path: JSON lines, a JSON array, Parquet, or a CSV.
        label: the answer's column; null: by what columns are called.
        sure: only JSON and Parquet that can hardly be anything else.

    Raises:
        DataError: the file cannot be read, or none of its rows makes an item.
        ProjectError: `label` names none of its columns, or is needed.
    """
    found = Found(path, str(path))
    try:
        rows = _rows(found, _LOOKED) if not sure or format_of(path) in ("jsonl", "parquet") else []
    except DataError:
        if sure:
            return None  # whoever reads it otherwise says what is wrong
        raise
    if not rows:
        return None
    names = list(dict.fromkeys(n for row in rows for n in row))
    if label is not None and label not in names:
        raise ProjectError("is no column of the file", field="--label", value=label, fix=f"columns: {', '.join(names[:20])}")
    if (chat := _chat(rows, names)) is not None:
        return _of_turns(_rows(found), *chat, str(path))
    asked = next((n for n in _ASKED if n in names), None)
    answer = label or next((n for n in _ANSWERS if n in names and n != asked), None)
    if sure and (asked, answer) not in _SURE:
        return None
    if answer is None or (asked in (None, answer) and label is None):
        raise ProjectError(
            "which column holds the answer wanted cannot be told from the file",
            field="--label",
            fix=f"name one of the columns: {', '.join(names[:20])}",
        )
    kept = [n for n in (*_SYSTEM, asked, *_ABOUT) if n in names and n != answer] if asked not in (None, answer) else names
    return _of_columns(_rows(found), [n for n in kept if n is not None and n != answer], answer, str(path))


def key_of(values: Mapping[str, Any]) -> bytes:
    """An item by its variables, whatever the case and the white space of its texts; what is null is none."""
    plain = {k: " ".join(v.casefold().split()) if isinstance(v, str) else v for k, v in values.items() if v is not None}
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


# --- reading ---


def _rows(file: Found, most: int = MOST_ROWS) -> list[dict[str, Any]]:
    """The first rows as they stand. Raises `DataError`: more than may be read."""
    form = form_of_files([file], "auto")
    rows = _lines(file, most) if form == "jsonl" else _table(file, form, most)
    if most == MOST_ROWS and len(rows) > most:
        raise DataError(f"has more than {most:,} rows", field=file.where, fix="take a sample of it: shuf -n 20000")
    return rows


def _lines(file: Found, most: int) -> list[dict[str, Any]]:
    not_empty(file)
    rows: list[dict[str, Any]] = []
    size = 0
    try:
        with opened(file) as stream:
            for number, line in enumerate(lines_of(stream), 1):
                size += len(line)
                if size > _MOST_BYTES:
                    raise DataError("has more than 512 MB", field=file.where, fix="take a sample of it: shuf -n 20000")
                if not line.strip():
                    continue
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as e:
                    raise DataError(
                        f"is not JSON: {e}",
                        field=f"{file.where}:{number}",
                        value=line[:80].decode(errors="replace"),
                        fix="write one object a line",
                    ) from e
                if not isinstance(row, dict):
                    raise DataError("is no JSON object", field=f"{file.where}:{number}", value=row, fix="write one object a line")
                rows.append(row)
                if len(rows) > most:
                    break
    except OSError as e:
        raise DataError(f"cannot be read: {first_line(e)}", field=file.where, fix="compress it again") from e
    return rows


def _table(file: Found, form: str, most: int) -> list[dict[str, Any]]:
    from sluice.data.dialect import Dialect
    from sluice.data.sources import read_tables

    if form == "parquet" and most < MOST_ROWS:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(file.path) as whole:
                return next((b.to_pylist() for b in whole.iter_batches(most)), [])
        except (OSError, ValueError) as e:
            raise DataError(f"is not a readable Parquet file: {first_line(e)}", field=file.where, fix="write it again") from e
    tables, _, _ = read_tables([file], form, Dialect(), (), ())
    return tables[0].slice(0, most + 1).to_pylist()


# --- conversations ---


def _messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and any(k in m for k in _WHO) and any(k in m for k in (*_WHAT, "tool_calls")) for m in value)
    )


def _chat(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[str, str | None] | None:
    """The column of the messages, and that of the answer where it is apart: a text, or messages too."""
    full = [n for n in names if sum(_messages(row.get(n)) for row in rows) > 0.9 * len(rows)]
    whole = next((n for n in (*_CHATS, "prompt", "input", "chosen") if n in full), None) or next(iter(full), None)
    if whole is None:
        return None
    return whole, next((n for n in _ANSWERS if n in names and n != whole), None)


def _of_turns(rows: Sequence[Mapping[str, Any]], column: str, answer: str | None, where: str) -> Items:
    made: list[dict[str, str | None]] = []
    left: Counter[str] = Counter()
    for row in rows:
        try:
            turns = _turns(row.get(column))
            if answer is not None:
                told = row.get(answer)
                turns += _turns(told) if _messages(told) else [("assistant", _text(told) or "")]
            made.append(_item(turns))
        except _Left as e:
            left[str(e)] += 1
    systems = {item["system"] for item in made}
    system = "{% if system %}{{ system }}{% endif %}"
    if len(systems) == 1 and "endraw" not in (one := systems.pop() or ""):
        for item in made:
            del item["system"]
        system = f"{{% raw %}}{one}{{% endraw %}}" if "{" in one else one
    used = [n for n in ("system", "earlier") if any(item.get(n) for item in made)]
    order = [*used, "question", ANSWER]
    user = ("{% if earlier %}{{ earlier }}\n{% endif %}" if "earlier" in used else "") + "{{ question }}"
    return _checked(
        Items(
            f"conversations ({column}): the last answer is the one wanted",
            [{n: item.get(n) for n in order} for item in made],
            frozenset(used),
            system,
            user,
            dict(left),
            "question",
        ),
        where,
    )


def _turns(value: Any) -> list[tuple[str, str]]:
    if not _messages(value):
        raise _Left("hold no messages")
    found = []
    for message in value:
        said = next(str(message[k]) for k in _WHO if k in message)
        role = _ROLES.get(said.lower())
        if role is None or message.get("tool_calls") or message.get("function_call"):
            raise _Left("call tools" if said in ("tool", "function") or role else f"have a role {said[:20]!r}")
        found.append((role, _content(next((message[k] for k in _WHAT if k in message), None))))
    return found


def _content(value: Any) -> str:
    """A message's text, which may be a list of parts."""
    if isinstance(value, list):
        if not all(isinstance(p, dict) and p.get("type", "text") == "text" and isinstance(p.get("text"), str) for p in value):
            raise _Left("have a part that is no text")
        return "\n".join(p["text"] for p in value)
    if value is not None and not isinstance(value, str):
        raise _Left("have a message that is no text")
    return value or ""


def _item(turns: list[tuple[str, str]]) -> dict[str, str | None]:
    """The last answer as the one wanted, the question before it, and what was said before that."""
    system = "\n".join(text for role, text in turns if role == "system").strip()
    said = [(role, text) for role, text in turns if role != "system" and text.strip()]
    answer = said.pop()[1] if said and said[-1][0] == "assistant" else None
    if not said or said[-1][0] != "user":
        raise _Left("have no question before the last answer")
    question = said.pop()[1]
    earlier = "\n".join(f"{role}: {text}" for role, text in said)
    return {"system": system or None, "earlier": earlier or None, "question": question, ANSWER: answer}


# --- columns ---


def _of_columns(rows: Sequence[Mapping[str, Any]], kept: Sequence[str], answer: str, where: str) -> Items:
    names = {n: _variable(n) for n in kept}
    if not names or len(set(names.values()) | {ANSWER}) <= len(names):
        raise DataError("leaves no column to ask with, or two of one name", field=where, value=list(kept), fix="rename its columns")
    made: list[dict[str, str | None]] = []
    left: Counter[str] = Counter()
    for row in rows:
        item = {variable: _text(row.get(n)) or None for n, variable in names.items()}
        if any(item.values()):
            made.append({**item, ANSWER: _text(_first(row.get(answer)))})
        else:
            left["ask nothing"] += 1
    optional = frozenset(v for v in names.values() if any(item[v] is None for item in made))
    system = next((v for n, v in names.items() if n in _SYSTEM), None)
    asked = [v for v in names.values() if v != system]
    main = next((names[n] for n in kept if n in _ASKED), None)
    if main is None:
        user = "\n".join(_part(v, f"{v}: ", "", optional) for v in asked)
    else:
        behind = "input" in asked  # Alpaca's stands behind the instruction; what a question is about stands before it
        about = [_part(v, "\n\n" if behind else "", "" if behind else "\n\n", optional) for v in asked if v != main]
        asks = _part(main, "", "", optional)
        user = "".join([asks, *about] if behind else [*about, asks])
    form = f"{', '.join(kept)} to ask with; {answer} is the answer wanted"
    return _checked(
        Items(form, made, optional, _part(system, "", "", optional) if system else "", user, dict(left), main or asked[-1]), where
    )


def _part(name: str, before: str, after: str, optional: frozenset[str]) -> str:
    said = f"{before}{{{{ {name} }}}}{after}"
    return f"{{% if {name} %}}{said}{{% endif %}}" if name in optional else said


def _variable(name: str) -> str:
    """A column's name as a variable's."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower()).strip("_") or "column"
    plain = plain if plain[0].isalpha() else f"x_{plain}"
    return f"{plain}_" if plain in (ANSWER, "passages") else plain[:40]


def _first(value: Any) -> Any:
    """Of several right answers the first; SQuAD keeps them under ``text``."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    return (value[0] if value else None) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _text(value: Any) -> str | None:
    """A cell as text; of lists and objects their JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, default=str).decode() if isinstance(value, list | dict) else value_text(value)


def _checked(items: Items, where: str) -> Items:
    if not items.rows:
        why = "; ".join(f"{n:,} {reason}" for reason, n in items.left.items())
        raise DataError(f"holds no item: {why}", field=where, fix="write rows with a question and an answer each")
    return items
