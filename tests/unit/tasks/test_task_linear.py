"""The linear start of a table's network, against scikit-learn's own logistic and ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sluice.learners.torch.linear import fit_bag, fit_linear, minimise


def rows(n=400, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    code = rng.integers(0, 4, n)
    return x, code, x @ [1.0, -2.0, 0.5, 0.0, 0.3] + np.array([0.0, 1.0, -1.0, 2.0])[code] + rng.normal(0, 1, n)


def fitted(x, code, targets, outputs, monkeypatch, weights=None):
    monkeypatch.setattr("sluice.learners.torch.linear.STRENGTHS", (1.0,))
    bias, weight, offsets = (torch.zeros(s, requires_grad=True) for s in ((outputs,), (outputs, 5), (4, outputs)))

    def straight(flat, codes):
        return F.linear(flat, weight, bias) + F.embedding(codes[0], offsets)

    fit_linear(straight, [bias, weight, offsets], torch.from_numpy(x), [torch.from_numpy(code)], torch.from_numpy(targets), weights)
    return straight(torch.from_numpy(x), [torch.from_numpy(code)]).detach().numpy()


def test_it_is_logistic_regression(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    x, code, score = rows()
    targets = np.digitize(score, [-1.0, 1.0])
    found = torch.softmax(torch.from_numpy(fitted(x, code, targets, 3, monkeypatch)), 1).numpy()
    wide = np.concatenate([x, np.eye(4)[code]], axis=1)
    np.testing.assert_allclose(found, LogisticRegression(tol=1e-8, max_iter=1000).fit(wide, targets).predict_proba(wide), atol=2e-3)
    weights = np.where(targets == 0, 3.0, 1.0).astype(np.float32)
    found = torch.softmax(torch.from_numpy(fitted(x, code, targets, 3, monkeypatch, torch.from_numpy(weights))), 1).numpy()
    np.testing.assert_allclose(
        found, LogisticRegression(tol=1e-8, max_iter=1000).fit(wide, targets, weights).predict_proba(wide), atol=2e-3
    )


def test_it_is_ridge_regression(monkeypatch):
    from sklearn.linear_model import Ridge

    x, code, score = rows()
    found = fitted(x, code, score.astype(np.float32), 1, monkeypatch)[:, 0]
    wide = np.concatenate([x, np.eye(4)[code]], axis=1)
    np.testing.assert_allclose(found, Ridge(1.0).fit(wide, score).predict(wide), atol=2e-3)


def test_the_penalty_is_chosen_by_folds_where_rows_are_few():
    rng = np.random.default_rng(0)
    x, targets = torch.from_numpy(rng.normal(size=(40, 30)).astype(np.float32)), torch.from_numpy(rng.normal(size=40).astype(np.float32))
    bias, weight = torch.zeros(1, requires_grad=True), torch.zeros((1, 30), requires_grad=True)
    fit_linear(lambda flat, _: F.linear(flat, weight, bias), [bias, weight], x, [], targets)
    noise = float(F.linear(x, weight, bias).detach().std())
    fit_linear(lambda flat, _: F.linear(flat, weight, bias), [bias, weight], x, [], x @ torch.arange(30.0))
    assert (
        noise < 0.2 and float((F.linear(x, weight, bias).squeeze(1) - x @ torch.arange(30.0)).detach().std()) < 10
    )  # noise is not learnt by heart


def test_a_minimum_is_found_where_the_valley_is_narrow():
    def at(point):
        x = point.clone().requires_grad_(True)
        value = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        return float(value.detach()), torch.autograd.grad(value, x)[0]

    assert minimise(at, torch.tensor([-1.2, 1.0], dtype=torch.float64)).tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_a_bag_s_table_is_logistic_regression_on_vectors_of_length_1(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr("sluice.learners.torch.linear.BAG_STRENGTHS", (1.0,))
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 6, 300)
    numbers = np.concatenate([rng.choice(20, n, replace=False) + 1 for n in lengths])
    weigh = np.concatenate([[0.0], rng.uniform(0.5, 2, 20)]).astype(np.float32)
    bags = np.zeros((300, 21))
    bags[np.repeat(np.arange(300), lengths), numbers] = weigh[numbers]
    bags /= np.linalg.norm(bags, axis=1, keepdims=True)
    targets = (bags[:, 1:8].sum(1) > bags[:, 8:].sum(1)).astype(np.int64)
    table = fit_bag(numbers, lengths, weigh, targets, 2)
    theirs = (
        LogisticRegression(fit_intercept=False, C=2.0).fit(bags, targets).predict_proba(bags)
    )  # of two classes' weights each has half the penalty
    np.testing.assert_allclose(torch.softmax(torch.from_numpy(bags @ table), 1).numpy(), theirs, atol=0.01)
