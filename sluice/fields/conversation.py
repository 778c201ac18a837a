"""Conversations and the answer to them, as the tokens of a causal language model: what its loss is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import orjson

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.fields.base import Example, Processor, SideFile, only, setting

#: The columns of a row: messages as JSON, and the text that answers them.
MESSAGES, ANSWER = "messages", "answer"
#: The inputs: all tokens, and the same with those that are not the answer's as `IGNORED`.
IDS, WANTED = "input_ids", "wanted"
IGNORED = -100
_TOKENIZER, _TEMPLATE = "tokenizer.json", "chat_template.jinja"


class ConversationProcessor(Processor):
    """Rows are ``{messages, answer}``; a row with more tokens than `max_length` is refused, since a cut answer teaches a cut one.

    Args:
        tokenizer: the bytes of a ``tokenizer.json``.
        template: the model's chat template (jinja2), which makes messages into a text.
        special: the special tokens that the template may name, e.g. ``eos_token``.
        end: the token that ends an answer.
        max_length: most tokens of a row.

    Raises:
        PackageError: the tokenizer cannot be read.
    """

    kind: ClassVar[str] = "conversation"
    inputs = (TensorSpec(IDS, "INT64", (-1, -1)), TensorSpec(WANTED, "INT64", (-1, -1)))
    tokens = (IDS, WANTED)
    pads: Mapping[str, int] = MappingProxyType({IDS: 0, WANTED: IGNORED})

    def __init__(self, tokenizer: bytes, template: str, special: Mapping[str, str], end: int, max_length: int):
        from tokenizers import Tokenizer

        self._bytes, self._template, self._special, self._end, self.max_length = tokenizer, template, dict(special), end, max_length
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        except Exception as e:  # the binding raises bare Exception
            raise PackageError(f"is no tokenizer: {e}", field=f"preprocess: {_TOKENIZER}") from e

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> Self:
        """Read ``max_length``, ``end``, ``special`` and the two side files. Raises `PackageError`."""
        only(spec, "kind", "max_length", "end", "special")
        special = {str(k): str(v) for k, v in setting(spec, "special", dict).items()}
        template = side_file(_TEMPLATE).decode()
        return cls(side_file(_TOKENIZER), template, special, setting(spec, "end", int), setting(spec, "max_length", int))

    @classmethod
    def names(cls, spec: Mapping[str, Any]) -> list[str] | None:
        """The two columns."""
        return [MESSAGES, ANSWER]

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """Tokens of the messages and of the answer. Raises `InputError`: no such record, an empty answer, or too many tokens."""
        return [self._encoded(row, f"rows[{i}]") for i, row in enumerate(rows)]

    def _encoded(self, row: Any, where: str) -> Example:
        if not isinstance(row, Mapping) or not isinstance(row.get(ANSWER), str):
            raise InputError("is no conversation", field=where, value=row, fix="send {messages, answer}")
        if not row[ANSWER].strip():
            raise InputError("has no answer to learn", field=where, value=row[ANSWER], fix="give each item an answer, or leave it out")
        asked = self._ids(self._asked(row.get(MESSAGES), f"{where}.{MESSAGES}"))
        said = [*self._ids(row[ANSWER]), self._end]
        if len(asked) + len(said) > self.max_length:
            raise InputError(
                f"has {len(asked) + len(said)} tokens, more than max_length {self.max_length}",
                field=where,
                fix="raise model.max_length, or shorten it",
            )
        return {
            IDS: np.array(asked + said, dtype=np.int64),
            WANTED: np.array([IGNORED] * len(asked) + said, dtype=np.int64),
        }

    def _asked(self, messages: Any, where: str) -> str:
        """The messages as one text, up to where the answer begins."""
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            found = orjson.loads(messages) if isinstance(messages, str) else messages
            if not isinstance(found, list):
                raise ValueError("is no list of messages")
            texts, *_ = render_jinja_template(
                conversations=[found], chat_template=self._template, add_generation_prompt=True, **self._special
            )
            return str(texts[0])
        except Exception as e:  # jinja2's, of a template that another wrote
            raise InputError(f"cannot be put into the model's chat template: {e}", field=where, value=messages) from e

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """[rows, tokens] each, padded behind: a causal model's tokens do not see what comes after them."""
        longest = max(len(x[IDS]) for x in examples)
        out = {name: np.full((len(examples), longest), pad, dtype=np.int64) for name, pad in self.pads.items()}
        for i, example in enumerate(examples):
            for name, array in out.items():
                array[i, : len(example[name])] = example[name]
        return out

    def length(self, example: Example) -> int:
        """Tokens."""
        return len(example[IDS])

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "max_length": self.max_length, "end": self._end, "special": self._special}

    def files(self) -> dict[str, bytes]:
        """The tokenizer and the chat template."""
        return {_TOKENIZER: self._bytes, _TEMPLATE: self._template.encode()}
