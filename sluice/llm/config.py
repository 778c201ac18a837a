"""What a prompt asks and what that may cost: sections of ``model:`` that a package carries on."""

from __future__ import annotations

import re

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from sluice.core.section import Section


class EndpointConfig(Section):
    """An OpenAI-compatible endpoint, and the model asked for there. Never a key: only where one is found."""

    url: str = Field(
        description="its base, as http://127.0.0.1:8000/v1; $SLUICE_LLM_URL goes before it, so that one package serves in every environment"
    )
    model: str = Field(min_length=1, max_length=200, description="the model's name there")
    revision: str = Field(
        "", max_length=200, description="of the model, where the endpoint has several; recorded, and sent as name@revision where it is set"
    )
    key_env: str | None = Field(None, description="name of the environment variable that holds the key; null: none is sent")
    connect_seconds: float = Field(5.0, gt=0, le=120)
    first_token_seconds: float = Field(60.0, gt=0, le=3600, description="longest wait for the first token")
    deadline_seconds: float = Field(120.0, gt=0, le=3600, description="longest wait for a whole answer, retries among it")
    at_once: int = Field(4, ge=1, le=256, description="calls at a time while a golden set is asked")
    retries: int = Field(2, ge=0, le=10, description="tries after the first, of what a second try may mend")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s@?#]+", url):
            told = {"fix": "for example http://127.0.0.1:8000/v1, and key_env: MY_KEY where it asks for a key"}
            raise PydanticCustomError("secret", "is no http(s) address without user, query and fragment: a key belongs into key_env", told)
        return url.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def _no_key(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,127}", name):
            raise PydanticCustomError(
                "secret",
                "must be the name of an environment variable, in capitals; a key itself never stands in a project",
                {"fix": "write key_env: MY_KEY and set MY_KEY to the key"},
            )
        return name


class PriceConfig(Section):
    """What a million tokens cost, in any one currency."""

    input: float = Field(0.0, ge=0, le=1e6)
    output: float = Field(0.0, ge=0, le=1e6)


class BudgetConfig(Section):
    """What may be spent by one run of the line, or by one server; null: any."""

    tokens: int | None = Field(None, ge=1, le=10**15)
    cost: float | None = Field(None, gt=0, le=1e9)


class RetrievalConfig(Section):
    """Passages of a folder of documents, put into the prompt as ``passages``. Search is exact; the index goes into the package."""

    folder: str = Field(description="of .txt and .md files, beside sluice.yaml")
    words: int = Field(120, ge=10, le=2000, description="of a passage, at most")
    overlap: int = Field(20, ge=0, le=1000, description="words that neighbouring passages share")
    top: int = Field(3, ge=1, le=50, description="passages given to a prompt")
    query: str | None = Field(None, description="the variable that is looked up; null: the only text among the variables")
    encoder: str | None = Field(
        None,
        description="folder with model.onnx and tokenizer.json (a MiniLM), or a package of a text similarity task; null: BM25 over words",
    )
