"""What columns of labels are called, in small letters without what is no letter or digit."""

from __future__ import annotations

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
