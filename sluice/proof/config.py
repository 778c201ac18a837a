"""`provenance:` and `card:` in the project file: neither changes what is made, and so neither is part of its digest."""

from __future__ import annotations

from pydantic import Field, field_validator

from sluice.core.section import Section


class ProvenanceConfig(Section):
    """How a registered package is signed. The key itself is read from where it lies, and written nowhere."""

    key: str | None = Field(
        None, description="file of the private key (`sluice keys new`); null: $SLUICE_SIGNING_KEY (a path or PEM text), else the home's own"
    )
    required: bool = Field(False, description="true: no package is registered without a signature")

    @field_validator("key")
    @classmethod
    def _is_a_path(cls, key: str | None) -> str | None:
        if key is not None and "-----BEGIN" in key:
            raise ValueError("is a key itself, which does not belong into a project file: name its file, or give it as $SLUICE_SIGNING_KEY")
        return key


class CardConfig(Section):
    """What a person says of the model on its card, beside what was measured."""

    uses: list[str] = Field([], description="what it is meant for")
    users: list[str] = Field([], description="who is meant to use it")
    not_for: list[str] = Field([], description="what it must not be used for")
    limits: list[str] = Field([], description="what it is known not to do well")
    ethics: list[str] = Field([], description="what has to be weighed: people concerned, harms, and what was done about them")
    owner: str | None = Field(None, description="whom to ask")
    licence: str | None = Field(None, description="of the model: an SPDX id (Apache-2.0) or a name")
    references: list[str] = Field([], description="papers and pages")

    @field_validator("uses", "users", "not_for", "limits", "ethics", "references")
    @classmethod
    def _short(cls, texts: list[str]) -> list[str]:
        if any(not t.strip() for t in texts):
            raise ValueError("holds an empty text")
        if len(texts) > 20 or any(len(t) > 1000 for t in texts):
            raise ValueError("holds more than 20 texts, or one of more than 1,000 characters")
        return texts
