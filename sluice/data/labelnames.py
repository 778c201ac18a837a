"""What columns of labels are called, in small letters without what is no letter or digit."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from typing import Any

#: Names that mean nothing else.
LABEL = frozenset({"label", "labels", "target", "targets"})
#: Names of columns that often are the label.
OFTEN = frozenset(
    {
        "y",
        "class",
        "category",
        "outcome",
        "result",
        "response",
        "sentiment",
        "rating",
        "grade",
        "score",
        "quality",
        "species",
        "type",
        "status",
        "churn",
        "churned",
        "survived",
        "default",
        "fraud",
        "isfraud",
        "spam",
        "intent",
        "topic",
        "diagnosis",
        "price",
        "saleprice",
        "sales",
        "count",
        "cnt",
        "purchase",
        "income",
        "medv",
        "exited",
        "attrition",
        "deposit",
        "approved",
        "loanstatus",
        "cancelled",
        "converted",
        "clicked",
        "demand",
    }
)
#: Names of what is known of a row beforehand: whom or what it is of, where and when. Such a column is hardly ever the label.
SELDOM = frozenset(
    {
        "id",
        "name",
        "title",
        "sex",
        "gender",
        "race",
        "ethnicity",
        "ethnic",
        "nationality",
        "age",
        "agegroup",
        "agegp",
        "country",
        "nation",
        "region",
        "state",
        "province",
        "county",
        "city",
        "town",
        "district",
        "zip",
        "zipcode",
        "postcode",
        "site",
        "location",
        "lat",
        "latitude",
        "long",
        "longitude",
        "subject",
        "patient",
        "block",
        "plot",
        "batch",
        "trt",
        "treatment",
        "year",
        "yr",
        "quarter",
        "month",
        "week",
        "weekday",
        "day",
        "date",
        "time",
        "hour",
        "period",
        "season",
    }
)

#: What a saved table's row names are called, and what numbers that tell rows apart are.
_ROWS = re.compile(r"row[ _.]*(names?|ids?|no|nr|num|numbers?|index)?|index", re.IGNORECASE)
_NUMBERED = re.compile(r"(^|[^a-z])(id|key|no|nr|number|index|row|code)s?$", re.IGNORECASE)
_ID = re.compile(r"[a-z]I[dD]$")
#: Of fewer rows another number in each may be chance.
_FEW = 20


def numbers_rows(name: str) -> bool:
    """Whether a column is called as one of numbers or names that tell rows apart: ``id``, ``orderId``, ``row_no``, ``rownames``."""
    return bool(_ROWS.fullmatch(name.strip()) or _NUMBERED.search(name) or _ID.search(name))


def names_each_row(name: str, values: Sequence[Any], numeric: bool) -> bool:
    """Whether a column is known by its name, and by another value in each row, to tell rows apart.

    Args:
        name: the column's.
        values: those that are there.
        numeric: whether they are numbers, which are then whole.
    """
    if not _ROWS.fullmatch(name.strip()) and (len(values) <= _FEW or not numbers_rows(name)):
        return False
    return 1 < len(values) == len(set(values)) and (not numeric or whole(values))


def whole(values: Sequence[Any]) -> bool:
    """Whether those that are numbers, or texts that spell some, are whole."""
    found = []
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            found.append(float(value))
    return any(map(math.isfinite, found)) and all(v % 1 == 0 for v in found if not math.isnan(v))
