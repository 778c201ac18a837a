"""`model:` of a project that recommends. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sluice.core.section import Names, Section

#: The way that a torch network learns.
TOWERS = "two_tower"


class RecommendModel(Section):
    """Which columns are interactions, and how what a user takes next is learnt from them."""

    user: Annotated[str | None, Names("column")] = Field(
        None, description="column of the user; null: by its name (user, user_id, customer, ...)"
    )
    item: Annotated[str | None, Names("column")] = Field(
        None, description="column of the item; null: by its name (item, movie_id, product, ...)"
    )
    time: Annotated[str | None, Names("column")] = Field(
        None, description="column of the time; null: by its name; without one the rows' order counts"
    )
    weight: Annotated[str | None, Names("column")] = Field(
        None, description="column of how much an interaction says (a count, a rating); null: all say the same"
    )
    least_weight: float | None = Field(
        None, description="interactions that weigh less are no sign of interest and left out: 4 of ratings to 5"
    )
    features: Annotated[list[str], Names("column")] = Field([], description="columns that describe the user; two_tower learns from them")
    history: int = Field(200, ge=1, le=2000, description="items of a user that are looked at, the newest")
    repeat: bool = Field(False, description="whether an item that was taken can be recommended again")
    method: Literal["auto", "popularity", "transitions", "ease", "factors", "two_tower"] = Field(
        "auto", description="auto: the better of transitions and ease for up to 3,000 items, factors beyond"
    )
    regularisation: float | None = Field(None, gt=0, description="of transitions, ease and factors; null: chosen on the validation rows")
    unobserved: float | None = Field(
        None, gt=0, description="factors: weight of what was not taken, against 1; null: chosen on the validation rows"
    )
    dimensions: int = Field(64, ge=2, le=1024, description="of a factor, or of a tower's vector")
    iterations: int = Field(6, ge=1, le=100, description="factors: sweeps over users and items")
    dropout: float = Field(0.2, ge=0, lt=1, description="two_tower: share of a history's items left out at each step")

    @model_validator(mode="after")
    def _fits(self) -> RecommendModel:
        if self.features and self.method != TOWERS:
            raise ValueError(f"features {self.features} are learnt from by method: {TOWERS} alone")
        given = [n for n in (self.user, self.item, self.time, self.weight, *self.features) if n is not None]
        twice = next((n for n in given if given.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"column {twice!r} is named twice")
        return self
