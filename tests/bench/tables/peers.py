"""scikit-learn's models of a table, as a person of the trade would set them up in ten minutes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

#: The most categories HistGradientBoosting takes; rarer ones are one.
_MOST = 250


def frame_of(table: Any) -> pd.DataFrame:
    """A dataset's features as pandas has them; of a time its year, month, day of the week, hour and days since 2000."""
    frame = table.select([c for c in table.column_names if c not in ("row_id", "label", "__group")]).to_pandas()
    for name in frame.columns:
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            t = frame[name].dt
            parts = {"year": t.year, "month": t.month, "weekday": t.weekday, "hour": t.hour}
            parts["days"] = (frame[name] - pd.Timestamp("2000-01-01")) / pd.Timedelta(days=1)
            frame = frame.drop(columns=name).assign(**{f"{name}_{k}": v.astype(float) for k, v in parts.items()})
    return frame


def boosting(classes: bool, frame: pd.DataFrame) -> Any:
    """HistGradientBoosting with its defaults over ordinal codes it knows to be categories."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words, numbers = _kinds(frame)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=_MOST)
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(categorical_features=list(range(len(words))) or None, random_state=0)
    return make_pipeline(make_column_transformer((codes, words), ("passthrough", numbers)), model)


def linear(classes: bool, frame: pd.DataFrame) -> Any:
    """Logistic or ridge regression with their defaults over standardised numbers, a column a category, and TF-IDF of texts."""
    from sklearn.compose import make_column_transformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words, numbers = _kinds(frame)
    shown = make_pipeline(SimpleImputer(strategy="constant", fill_value=""), OneHotEncoder(handle_unknown="ignore"))
    texts = [c for c in words if frame[c].nunique() > 0.5 * len(frame) and frame[c].str.split().str.len().mean() >= 3]
    parts = [(make_pipeline(SimpleImputer(), StandardScaler()), numbers), (shown, [c for c in words if c not in texts])]
    ready = make_column_transformer(*parts, *((TfidfVectorizer(ngram_range=(1, 2)), c) for c in texts))
    return make_pipeline(ready, LogisticRegression(max_iter=1000) if classes else Ridge())


def answers(model: Any, frame: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, labels: int) -> np.ndarray:
    """Fitted and asked: probabilities [rows, labels], or values [rows]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(frame, y)
        if not labels:
            return np.asarray(model.predict(test))
        out = np.zeros((len(test), labels))
        out[:, model.classes_] = model.predict_proba(test)
        return out


def _kinds(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    words = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    return words, [c for c in frame.columns if c not in words]
