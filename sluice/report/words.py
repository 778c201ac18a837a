"""The words of statistics in plain English: on hover where they stand, and in a note at the end of a page for those that it uses."""

from __future__ import annotations

import re
from functools import cache
from html import escape

#: What each means, as it is written in reports.
WORDS = {
    "accuracy": "the share of rows whose answer is right",
    "balanced_accuracy": "the mean over the labels of the share of their rows that is answered rightly; rare labels count as much as common ones",
    "precision": "of the rows that were given a label, the share that has it",
    "recall": "of the rows that have a label, the share that was given it",
    "f1": "one number for precision and recall: their harmonic mean, low where either is low",
    "macro_f1": "the mean of the labels' F1; rare labels count as much as common ones",
    "support": "how many held-out rows have the label",
    "average_precision": "the mean precision over all thresholds; of a model that knows nothing it is the label's share of the rows",
    "roc_auc": "how often a row with the label is ranked above one without it; 0.5 is guessing",
    "log_loss": "how surprised the model is by the truth: 0 where it is sure and right, large where it is sure and wrong",
    "brier": "the mean squared distance of the probabilities from the truth; 0 is perfect",
    "mcc": "how well answers and truth go together, from -1 to 1; 0 is guessing, whatever the labels' shares",
    "rmse": "the typical size of an error, in the unit of the answer; large errors count more",
    "mae": "the mean size of an error, in the unit of the answer",
    "r2": "the share of the answers' spread that the model explains; 0 is answering the mean",
    "expected error": "how far the model's confidence is from how often it is right, on average",
    "calibration": "whether a confidence of 90 % is right nine times out of ten",
    "confidence": "the probability the model gives its own answer",
    "margin": "how much worse than the champion the candidate may be, by the project's settings",
    "interval": "where the true value lies, as sure as is said (95 % unless told otherwise), given that only so many rows were looked at",
    "importance": "how much worse the answers get when a column's values are shuffled among the rows",
    "SHAP": "a column's share in an answer, by the trees themselves",
    "held-out rows": "rows that were kept from training, and tell how the model does on what it has not seen",
    "champion": "the model that served when this one was judged",
    "candidate": "the model that this run made",
    "slice": "a part of the rows that has one value of a column",
    "e-value": "how many times likelier the counts are under one claim than under the other; it may be looked at at any time",
    "PSI": "how far two distributions are apart: below 0.1 little, above 0.25 much",
    "p99": "99 of 100 requests were answered faster",
    "log odds": "a probability on a scale without ends: 0 is one half, +2.2 is 90 %, -2.2 is 10 %",
    "quantile": "the value below which the said share of the rows lies",
    "pinball": "the error of a quantile: what lies on its wrong side costs more",
    "ndcg_10": "how well the first ten are ordered: 1 is perfect; what is at the top counts most",
    "recall_10": "of what came, the share that stands among the first ten",
    "hit_10": "how often at least one of what came stands among the first ten",
    "mrr": "one over the place of the first right item, on average; 1 is always the first",
    "coverage": "the share of the items that is recommended to somebody",
    "novelty": "how rare the recommended items are, in bits",
    "mase": "the error over that of a seasonal naive forecast in the past: below 1 is better than repeating the last season",
    "smape": "the error relative to the size of the values: 0 is perfect, 2 is the worst",
    "coverage_gap": "how far the share of values that fell into the band is from what was promised",
    "micro_f1": "twice the labels met, over all that were answered and all that are true",
    "row_f1": "the F1 of each row's labels, on average",
    "exact_match": "the share of rows answered exactly",
    "span_f1": "the F1 of spans; one counts where it begins, ends and is called as the true one",
    "word_accuracy": "the share of words whose label is right",
    "spearman": "how well two orders go together, from -1 to 1; 0 is guessing",
    "pearson": "how well two numbers go together along a line, from -1 to 1; 0 is guessing",
    "pair_auc": "how often a pair that belongs together is scored above one that does not; 0.5 is guessing",
    "kernel_distance": "how far the samples are from held-out rows, by their features; 0 on average where both are alike",
    "frechet_distance": "how far the means and spreads of the samples' features are from those of held-out rows",
    "mean_return": "the sum of the rewards of an episode, on average",
    "mean_length": "the steps of an episode, on average",
    "cut_share": "the share of episodes that were ended by their limit of steps",
    "dr": "doubly robust: the reward a model expects, corrected by the rows where the same action was taken",
    "ips": "the reward of rows where the same action was taken, weighted by how seldom that happened",
    "snips": "as ips, its weights made to sum to one",
    "word_error_rate": "words to change, add or take away, over the true words; 0 is perfect",
    "character_error_rate": "characters to change, add or take away, over the true ones; 0 is perfect",
    "sentence_error_rate": "the share of clips not written exactly",
    "grounded": "the share of an answer's claims that its sources support",
    "perplexity": "among how many words the model hesitates on average; lower is better",
}
_TAG = re.compile(r"<[^>]*>")
_COMMAND = re.compile(r"`([^`\n]+)`")
_HOVER = re.compile(r"<abbr [^>]*>([^<]*)</abbr>")
#: Names of at most so many characters are also initials, titles and ids: `dr`, `r2`.
_SHORT = 3


@cache
def _pattern() -> re.Pattern[str]:
    names = sorted(WORDS, key=len, reverse=True)
    return re.compile(r"(?<![\w-])(" + "|".join(re.escape(n).replace("_", "[_ ]") for n in names) + r")(?![\w-])", re.I)


@cache
def _by_small() -> dict[str, str]:
    return {name.lower(): name for name in WORDS}


def _known(text: str) -> str | None:
    return _by_small().get(text.lower()) or _by_small().get(text.lower().replace(" ", "_"))


def explained(text: str) -> str:
    """A heading as HTML; a word that is known says on hover what it means."""
    name = _known(text.strip())
    return escape(text) if name is None else f'<abbr title="{escape(WORDS[name], quote=True)}">{escape(text)}</abbr>'


def first_explained(text: str) -> str:
    """A sentence as HTML, the first known word of it explained on hover."""
    found = _pattern().search(text)
    if found is None:
        return escape(text)
    return escape(text[: found.start()]) + explained(found[0]) + escape(text[found.end() :])


def coded(text: str) -> str:
    """A sentence as HTML, its `commands` set as code."""
    return _COMMAND.sub(r"<code>\1</code>", escape(text))


def used(body: str) -> list[str]:
    """The known words of a page, in the order of `WORDS`; what stands inside tags is not read, and a short one only where it is explained on hover.

    A page shows a person's texts too, and a Dr. in one of them is no estimate.
    """
    there = {_known(m[0]) for m in _pattern().finditer(_TAG.sub(" ", body)) if len(m[0]) > _SHORT}
    there |= {_known(m[1].strip()) for m in _HOVER.finditer(body)}
    return [name for name in WORDS if name in there]


def note(body: str) -> str:
    """What the words of a page mean, as its last part; empty where it uses none."""
    names = used(body)
    if not names:
        return ""
    rows = "".join(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(WORDS[name])}</dd>" for name in names)
    return f'<section class="words"><h2>What the words mean</h2><dl>{rows}</dl></section>'
