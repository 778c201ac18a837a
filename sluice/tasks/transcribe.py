"""Transcription: the encoded files' bytes and what is said in them, as a text."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sluice.core.errors import DataError
from sluice.tasks.audio import AudioModel, AudioTask
from sluice.tasks.layouts import transcripts_beside_wavs, transcripts_by_chapter
from sluice.tasks.roles import by_name

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.look import ColumnLook

#: What belongs to a word though it is no letter: it's, to-day.
_INSIDE = "'-"
#: Different words that are few, and how often each has to come, on average, to be learnt as a whole.
_FEW, _OFTEN = 200, 3


#: The units a transcript may be read as.
WORDS, CHARACTERS = "words", "characters"


class TranscribeModel(AudioModel):
    """Recordings of speech: a log-mel spectrogram inside the graph, an encoder, and a symbol or none at each of its frames (CTC)."""

    units: Literal["words", "characters"] | None = Field(
        None,
        description="symbols of an answer; words: only those of the source can be answered; null: words where these are few and come often",
    )
    plain: bool = Field(True, description="transcripts in lower case and without punctuation")


#: What the column of transcripts is called.
_TRANSCRIPTS = ("transcript", "transcription", "sentence", "normalizedtext", "text", "utterance", "label")


class TranscribeTask(AudioTask):
    """Rows are encoded recordings; the label is a transcript, kept as the list of its symbols."""

    name: ClassVar[str] = "transcribe"
    Model = TranscribeModel
    assumed: ClassVar[bool] = False
    starter: ClassVar[str | None] = "transcribe"
    network: ClassVar[str] = "sluice.learners.torch.sounds.transcripts:TranscribeNetwork"
    _chosen: str | None = None

    @classmethod
    def label_in(cls, columns: Sequence[ColumnLook]) -> str | None:
        """The column of transcripts, by its name."""
        return by_name([c.name for c in columns], _TRANSCRIPTS)

    @classmethod
    def known_as(cls, path: Path) -> DataError | None:
        """Transcripts in files of their own beside the recordings."""
        return transcripts_beside_wavs(path) or transcripts_by_chapter(path)

    def objective(self, table: pa.Table) -> str:
        """``transcription``."""
        from sluice.problems.transcription import Transcription

        return Transcription.name

    def canonical(self, table: pa.Table) -> pa.Table:
        """The recordings, and each transcript's symbols; null where nothing is left of it."""
        import pyarrow as pa

        units = self._units(table)
        found = [symbols(t, units, plain=self.project.model.plain) or None for t in self._texts(table)]
        return pa.table({"audio": self._recordings(table), "label": pa.array(found, pa.list_(pa.string()))})

    def notes(self, table: pa.Table) -> list[str]:
        """What the symbols are."""
        units = self._units(table)
        return [
            f"a transcript is read as its {units}"
            + ("" if self.project.model.units else f"; model.units names {CHARACTERS if units == WORDS else WORDS} instead")
        ]

    def _texts(self, table: pa.Table) -> list[str | None]:
        from sluice.tasks import columns

        name = self.project.data.columns.label
        found: list[str | None] = columns.to_string(columns.column(table, name, "data.columns.label"), name, "label").to_pylist()
        return found

    def _units(self, table: pa.Table) -> str:
        """As the project says, or as the first table shows: the source's, which is read before its held-out rows."""
        if self._chosen is None:
            words = Counter(w for t in self._texts(table) for w in symbols(t, WORDS, plain=self.project.model.plain))
            few = len(words) <= _FEW and words.total() >= _OFTEN * len(words)
            self._chosen = self.project.model.units or (WORDS if few else CHARACTERS)
        return self._chosen


def symbols(text: str | None, units: str, *, plain: bool) -> list[str]:
    """A transcript as the problem's symbols (`sluice.problems.transcription`); none of what is null or blank."""
    from sluice.problems.transcription import SPACE

    words = _plain(text or "") if plain else (text or "").replace(SPACE, " ").split()
    if units == WORDS:
        return [SPACE + word for word in words]
    return list(SPACE.join(words))


def _plain(text: str) -> list[str]:
    """Words in lower case, compatibility forms made one (Unicode NFKC), of letters, marks, digits and what stands inside a word."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c in _INSIDE else " " for c in folded)
    return [word for word in (w.strip(_INSIDE) for w in kept.split()) if word]
