"""Batches: every row once an epoch, the same whoever asks and whenever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.learners.seeds import permuted, seed_of
from sluice.learners.torch.sampler import Sampler, share


@given(rows=st.integers(1, 5000), key=st.integers(0, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_a_keyed_order_is_a_permutation(rows, key):
    assert np.array_equal(np.sort(permuted(np.arange(rows), rows, key)), np.arange(rows))


def test_an_order_can_be_asked_for_in_parts():
    whole = permuted(np.arange(1000), 1000, 7)
    np.testing.assert_array_equal(permuted(np.arange(400, 500), 1000, 7), whole[400:500])


def test_places_in_the_order_are_equally_likely():
    """Where row 0 goes, over 4,000 keys: chi-squared with 19 degrees of freedom exceeds 43.8 once in a thousand."""
    places = np.array([np.flatnonzero(permuted(np.arange(20), 20, k) == 0)[0] for k in range(4000)])
    expected = 4000 / 20
    assert (((np.bincount(places, minlength=20) - expected) ** 2) / expected).sum() < 43.8


@given(
    rows=st.integers(1, 700),
    size=st.integers(1, 97),
    epoch=st.integers(0, 3),
    world=st.integers(1, 5),
    window=st.integers(1, 7),
    lengths=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_an_epoch_holds_every_row_once_over_all_processes(rows, size, epoch, world, window, lengths):
    sampler = Sampler(rows, size, 3, np.arange(rows) % 13 if lengths else None, window)
    batches = [sampler.batch(epoch, s) for s in range(sampler.steps)]
    parts = [share(b, r, world) for b in batches for r in range(world)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
    sizes = [len(b) for b in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_is_the_same_to_whoever_comes_straight_to_it():
    lengths = np.random.default_rng(1).integers(1, 40, 5000)
    one, other = Sampler(5000, 32, 9, lengths), Sampler(5000, 32, 9, lengths)
    for step in range(one.steps):
        one.batch(0, step)
    np.testing.assert_array_equal(one.batch(2, 101), other.batch(2, 101))


def test_epochs_and_seeds_differ_in_their_order():
    found = {tuple(Sampler(100, 10, seed, None).batch(epoch, 0)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(found) == 4


def test_like_lengths_are_batched_so_that_little_is_padding():
    rng = np.random.default_rng(0)
    lengths = np.minimum(1 + rng.geometric(0.08, 20_000), 64)

    def padded(sampler):
        return sum(len(b) * lengths[b].max() for b in (sampler.batch(0, s) for s in range(sampler.steps))) / lengths.sum()

    assert padded(Sampler(20_000, 64, 1, lengths)) < 1.08
    assert padded(Sampler(20_000, 64, 1, None)) > 2


def test_batches_of_a_window_are_not_in_order_of_length():
    lengths = np.arange(3200)
    sampler = Sampler(3200, 64, 1, lengths)
    means = [lengths[sampler.batch(0, s)].mean() for s in range(sampler.steps)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_impossible_sizes_are_refused():
    for arguments in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="must be positive"):
            Sampler(*arguments, seed=1)
    with pytest.raises(IndexError):
        Sampler(10, 5, 1).batch(0, 2)


def test_seeds_depend_on_every_part_and_on_their_order():
    seeds = [seed_of(1, 2, 3), seed_of(3, 2, 1), seed_of(1, 2), seed_of(1, 2, 4), seed_of(1, 2, -1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
