"""`data:` in the project file."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sluice.core.numerals import Numerals
from sluice.core.section import Names, Section
from sluice.data.dialect import Dialect

if TYPE_CHECKING:
    from sluice import fields

#: What a column of recordings is called where nothing else is said, which then says nothing in the config's digest.
_AUDIO = "audio"
#: Codecs of Python's that are for names, or for its own source.
_NOT_OF_FILES = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape"})


class NumberFormat(Section):
    """How numbers are written in text: ``1.234,50`` has a comma before its decimals and a point between thousands."""

    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'"] | None = Field(None, description="a space is one of any width")

    @model_validator(mode="after")
    def _tells_them_apart(self) -> NumberFormat:
        if self.decimal == self.thousands:
            raise ValueError(f"{self.decimal!r} cannot separate both decimals and thousands")
        return self


class Columns(Section):
    """Which columns of the source mean what. `features` null: every column but the label."""

    text: str = "text"
    image: str = "image"
    audio: str = Field(_AUDIO, exclude_if=lambda name: name == _AUDIO)
    label: str = "label"
    file_name: str | None = Field(
        None,
        description='what names of files say, a column a part: "{label}_{speaker}_{take}"; with a / it is of the path',
        exclude_if=lambda pattern: pattern is None,
    )
    features: list[str] | None = None
    categorical: list[str] = Field(default=[], description="columns read as categories though they look numeric")
    ignore: list[str] = []
    numbers: dict[str, NumberFormat] = Field(
        default={}, description="columns of texts such as 1,234 or 12,5 that are numbers, and how they are written"
    )
    kinds: Annotated[dict[str, str], Names("column")] = Field(
        default={},
        description="columns of another kind than their values tell: an installed kind of field, which a server needs too",
        exclude_if=lambda kinds: not kinds,
    )
    timestamps: Annotated[dict[str, str], Names("column")] = Field(
        default={}, description="columns of times and how they are written: iso, s, ms, us, ns, a form such as %d.%m.%Y, or auto"
    )
    label_separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between the labels of a row that has several, such as '|'; null: a row has one, unless the column holds lists",
        exclude_if=lambda between: between is None,
    )
    time_zone: str = Field(
        "UTC", description="whose clock times are read by: a zone of the IANA database; a time that names no zone is of this one"
    )

    def of(self, field: fields.Field) -> str:
        """The column of a field that a row is alone: as `text` and `image` say; another kind's is called as the kind is."""
        key = field.setting or field.kind
        told = getattr(self, key, None) if key in type(self).model_fields else None
        return told if isinstance(told, str) else field.name

    @field_validator("file_name")
    @classmethod
    def _has_parts(cls, value: str | None) -> str | None:
        if value is not None:
            from sluice.data.filenames import NamePattern

            NamePattern(value)
        return value

    @field_validator("kinds")
    @classmethod
    def _are_installed(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            return value
        from sluice.fields.column import ColumnField
        from sluice.fields.field import FIELDS

        known = [k for k in FIELDS.names() if issubclass(FIELDS.get(k), ColumnField)]
        for name, kind in value.items():
            if kind not in known:
                raise ValueError(f"{name}: {kind!r} is no installed kind of column; there are {', '.join(known)}")
        return value

    @field_validator("timestamps")
    @classmethod
    def _are_forms(cls, value: dict[str, str]) -> dict[str, str]:
        for name, form in value.items():
            from sluice.fields.timestamps import TimeForm

            try:
                if form != "auto":
                    TimeForm(form)
            except ValueError as e:
                raise ValueError(f"{name}: {e}") from e
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value != "UTC":
            from sluice.fields.zones import Zone

            Zone.named(value)
        return value


class Split(Section):
    """Fractions of the rows that are held out; what is left over is for training."""

    test: float = Field(0.2, ge=0, lt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    seed: int = 17
    by: Literal["hash", "time", "group"] = Field(
        "hash", description="what stays together: equal rows; the newest rows are held out; rows of one group"
    )
    column: Annotated[str | None, Names("column")] = Field(
        None, description="of the source: the time, or the group; it need not be a feature"
    )

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Split:
        if self.test + self.validation >= 1:
            raise ValueError(f"test {self.test} + validation {self.validation} leave no rows for training; their sum must be below 1")
        if (self.column is None) != (self.by == "hash"):
            raise ValueError(f"by {self.by} {'takes no column' if self.by == 'hash' else 'needs data.split.column'}")
        return self


class Range(Section):
    """Closed interval a numeric column has to stay in."""

    min: float | None = None
    max: float | None = None


class Checks(Section):
    """Limits beyond which the data is refused before any training. Without one (null) noise is a warning with its figures."""

    rows_min: int = Field(20, ge=1)
    nulls_max: float | None = Field(
        None, ge=0, le=1, description="largest fraction of nulls in text, image or label; null: such rows are left out with a warning"
    )
    feature_nulls_max: float | None = Field(
        None, ge=0, le=1, description="largest fraction of nulls in a tabular feature; null: a warning from half on"
    )
    duplicates_max: float | None = Field(
        None, ge=0, le=1, description="largest fraction of rows whose features stand more than once; null: a warning"
    )
    conflicts_max: float | None = Field(
        None, ge=0, le=1, description="largest fraction of rows with equal features and different labels; null: a warning"
    )
    label_rows_min: int = Field(2, ge=1, description="fewest rows of a label")
    imbalance_max: float = Field(1000.0, ge=1, description="largest ratio of the commonest label to the rarest")
    leakage_max: float = Field(0.01, ge=0, le=1, description="largest fraction of test rows that are training rows too")
    labels: list[str] | None = Field(None, description="the only labels allowed")
    ranges: Annotated[dict[str, Range], Names("field")] = {}
    own: dict[str, Any] = Field(
        {}, description="checks of your own: module:Class, or an entry point's name, each with its section", exclude_if=lambda own: not own
    )


class DataConfig(Section):
    """Where rows come from, how they are split, and what is demanded of them."""

    source: str = Field(
        description="file, glob, folder, s3://bucket/key, https://..., dvc://path?rev=..., hf://folder of save_to_disk, or sklearn://name"
    )
    test: str | None = Field(None, description="held-out rows; null: `split.test` of the source")
    format: Literal["auto", "csv", "jsonl", "parquet", "images"] = "auto"
    delimiter: str | None = Field(None, description="of a CSV: one character, or tab; null: by the file's name and its first rows")
    quote: Literal["auto", '"', "none"] = Field("auto", description="what opens a cell of a CSV; none: quotes are plain text")
    header: bool | list[str] = Field(
        True, description="a CSV's first line names the columns; false: column_1, column_2, ...; or a list of their names"
    )
    encoding: str = Field("utf-8", description="of a CSV: cp1252, latin-1, utf-16, cp949, gb18030, ...")
    numbers: NumberFormat | None = Field(
        None, description="how numbers are written in every column of texts; null: found out where there is one way to read a column"
    )
    columns: Columns = Columns()
    split: Split = Split()
    checks: Checks = Checks()
    schema_file: Annotated[str | None, Names("file")] = Field(
        None,
        description="what the source has to be, column by column: a file of rules (YAML), or a Great Expectations suite (JSON)",
        exclude_if=lambda file: file is None,
    )
    sensitive: Annotated[list[str], Names("column")] = Field(
        [],
        description="columns whose values stand in no report, log, profile or error, and are no feature unless data.columns.features names them",
        exclude_if=lambda names: not names,
    )
    shard_rows: int = Field(50_000, ge=1)
    engine: Literal["auto", "local", "ray"] = Field(
        "auto",
        description="how rows are gone through: local, in pieces within `memory`; ray, those by workers; auto, in one piece where it fits. "
        "What is found is the same",
        exclude_if=lambda engine: engine == "auto",
    )
    memory: str = Field(
        "1 GB",
        pattern=r"^\d+(\.\d+)? ?(MB|GB|TB)$",
        description="how much of it reading, checking and dividing a source may take; sources that would need more are gone through in pieces",
        exclude_if=lambda memory: memory == "1 GB",
    )

    parts: str | None = Field(
        None,
        description="a folder that remembers the source's files: which are new, changed or gone is told, and of an object store only new ones are fetched",
        exclude_if=lambda folder: folder is None,
    )

    @model_validator(mode="before")
    @classmethod
    def _keeps_sensitive_out(cls, raw: Any) -> Any:
        """A sensitive column is no feature unless ``data.columns.features`` names it, or a row is its value alone: it is ignored."""
        if not isinstance(raw, dict) or not isinstance(raw.get("sensitive"), list):
            return raw
        from sluice.fields.field import FIELDS

        columns = raw.get("columns") or {}
        columns = columns.model_dump(mode="json", exclude_defaults=True) if isinstance(columns, Columns) else columns
        if not isinstance(columns, dict) or not isinstance(columns.get("ignore") or [], list):
            return raw
        label = columns.get("label", "label")
        if label in raw["sensitive"]:
            raise ValueError(f"sensitive names the label {label!r}, whose values are what the model answers; leave it out")
        kept = {*(columns.get("features") or ()), *(v for k, v in columns.items() if isinstance(v, str) and k in FIELDS)}
        ignore = list(columns.get("ignore") or ())
        more = [n for n in raw["sensitive"] if isinstance(n, str) and n not in kept and n not in ignore]
        return {**raw, "columns": {**columns, "ignore": ignore + more}}

    def reading(self) -> dict[str, Any]:
        """What is said of how rows are read, as far as it is not as by default: plain JSON that goes with the model, to read more rows alike."""
        return self.model_dump(
            mode="json",
            exclude_defaults=True,
            exclude={"source", "test", "format", "split", "checks", "schema_file", "shard_rows", "engine", "memory", "parts"},
        )

    @property
    def bytes_of_memory(self) -> int:
        """`memory` in bytes."""
        number, unit = self.memory[:-2], self.memory[-2:]
        return int(float(number) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}[unit])

    @property
    def dialect(self) -> Dialect:
        """How its text files are written, as far as that is declared."""
        return Dialect(self.delimiter, self.quote, self.header if isinstance(self.header, bool) else tuple(self.header), self.encoding)

    @property
    def numerals(self) -> dict[str, Numerals]:
        """How numbers are written, by column; of "" in every other."""
        declared = {**({"": self.numbers} if self.numbers else {}), **self.columns.numbers}
        return {name: Numerals(n.decimal, n.thousands) for name, n in declared.items()}

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        value = {"tab": "\t", "\\t": "\t", "auto": None}.get(value or "auto", value)
        if value is not None and (len(value) != 1 or not value.isascii() or value in '"\r\n'):
            raise ValueError("is one character, not a quote or line break: ',', ';', '|' or tab")
        return value

    @field_validator("header")
    @classmethod
    def _different_names(cls, value: bool | list[str]) -> bool | list[str]:
        if not isinstance(value, bool) and (not value or len(set(value)) < len(value) or not all(n.strip() == n != "" for n in value)):
            raise ValueError("lists the columns' names: at least one, none twice, without spaces around them")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            found = codecs.lookup(value)
            "".encode(found.name)
            if found.name in _NOT_OF_FILES:
                raise ValueError
        except (LookupError, UnicodeError, ValueError):
            raise ValueError("is no text encoding; use utf-8, cp1252, latin-1, utf-16, cp949, gb18030, ...") from None
        return "utf-8" if found.name == "utf-8-sig" else found.name
