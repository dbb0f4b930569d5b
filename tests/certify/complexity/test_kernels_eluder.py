"""The kernels of the eluder dimension against slow twins in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.complexity import _kernels_eluder as kernels
from certify.complexity import eluder_dimension
from certify.complexity.eluder import _ranks, _root

seeds = st.integers(0, 10**6)


def random_squares(seed: int, functions: int, points: int) -> np.ndarray:
    """Return small integers, so that many sums of squares are equal."""
    return np.random.default_rng(seed).integers(0, 5, size=(functions, points)) / 2.0


def scales_of(rank: np.ndarray, path: tuple[int, ...], floor: int, ceiling: int) -> set[int]:
    """Return the ranks in [floor, ceiling) at which every point of a path is independent of those before it."""
    kept = set(range(floor, ceiling))
    for place, x in enumerate(path):
        before = sum(1 << y for y in path[:place])
        kept &= {e for e in kept if any(rank[f, before] <= e < rank[f, 1 << x] for f in range(len(rank)))}
    return kept


@given(seeds, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=40)
def test_ranks_are_the_order_of_exact_sums(seed: int, functions: int, points: int) -> None:
    magnitude = np.random.default_rng(seed).choice([0.0, 0.1, 0.3, 0.25, 1e-30, 3.0], size=(functions, points))
    rank, floor, ordered, denominator = _ranks(magnitude, 0.2)
    assert Fraction(ordered[floor], denominator**2) == Fraction(0.2) ** 2
    assert ordered == sorted(set(ordered))
    for f in range(functions):
        for mask in range(1 << points):
            exact = sum((Fraction(magnitude[f, x]) ** 2 for x in range(points) if mask >> x & 1), Fraction(0))
            assert Fraction(ordered[rank[f, mask]], denominator**2) == exact


@given(seeds, st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=60)
def test_subsets_know_the_scales_of_all_their_orders(seed: int, functions: int, points: int) -> None:
    rank, floor, ordered, _ = _ranks(random_squares(seed, functions, points), 0.5)
    ceiling = len(ordered)
    low, high, count = np.zeros((1 << points, 64), np.int64), np.zeros((1 << points, 64), np.int64), np.zeros(1 << points, np.int64)
    assert kernels.subsets(rank, points, floor, ceiling, low, high, count) == 0
    for mask in range(1 << points):
        inside = [x for x in range(points) if mask >> x & 1]
        expected = set().union(*(scales_of(rank, path, floor, ceiling) for path in permutations(inside)))
        intervals = [(int(low[mask, i]), int(high[mask, i])) for i in range(count[mask])]
        assert {e for a, b in intervals for e in range(a, b)} == expected
        # Disjoint, in order, and never two where one would do.
        assert all(a < b for a, b in intervals)
        assert all(first[1] < second[0] for first, second in pairwise(intervals))


@given(seeds, st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=60)
def test_the_search_finds_a_longest_sequence_and_its_lowest_scale(seed: int, functions: int, points: int) -> None:
    rank, floor, ordered, _ = _ranks(random_squares(seed, functions, points), 0.5)
    ceiling = len(ordered)
    path = np.zeros(points, np.int64)
    length, scale = kernels.search(rank, points, floor, ceiling, path)
    longest = max((n for n in range(points + 1) for p in permutations(range(points), n) if scales_of(rank, p, floor, ceiling)), default=0)
    assert length == longest
    assert min(scales_of(rank, tuple(path[:length]), floor, ceiling)) == scale


@pytest.mark.parametrize(("gaps", "room"), [(2, (1, 2, 8)), (3, (1, 3, 8)), (3, (2, 3, 8))])
def test_intervals_that_do_not_fit_are_reported(gaps: int, room: tuple[int, int, int]) -> None:
    """Point 0 before point 1 is independent on [phi(0)^2, phi(1)^2) of each function, and these are apart; the other order is never."""
    values = np.array([[1.0, 1.5], [2.0, 2.5], [2.75, 2.875], [3.0, 3.0]])[[*range(gaps), 3]]
    rank, floor, ordered, _ = _ranks(values, 0.5)
    for capacity, status in zip(room, (-1, 0, 0), strict=True):
        low, high, count = np.zeros((4, capacity), np.int64), np.zeros((4, capacity), np.int64), np.zeros(4, np.int64)
        assert kernels.subsets(rank, 2, floor, len(ordered), low, high, count) == status
        assert status or count.tolist() == [1, 1, 1, gaps]


@given(seeds)
@settings(max_examples=40)
def test_the_greedy_search_is_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    functions, points, trials = (int(rng.integers(1, 6)) for _ in range(3))
    squares = rng.uniform(size=(functions, points)) ** 2
    scales = rng.uniform(0.05, 0.9, size=trials)
    orders = np.array([rng.permutation(points) for _ in range(trials)])
    path = np.zeros(points, np.int64)
    length, scale = kernels.greedy_sequences(squares, scales, orders, path)
    found = []
    for level, order in zip(scales, orders, strict=True):
        chosen: list[int] = []
        for x in order:
            if any(squares[f, chosen].sum() <= level**2 < squares[f, x] for f in range(functions)):
                chosen.append(int(x))
        found.append(chosen)
    best = max(range(trials), key=lambda i: len(found[i]))
    assert length == len(found[best])
    assert scale == scales[best if found[best] else 0]
    assert path[:length].tolist() == found[best]


@pytest.mark.parametrize(
    ("sums", "square", "independent"), [(1 - 1.5e-12, 1 + 1.5e-12, 1), (1 - 0.6e-12, 2.0, 0), (0.5, 1 + 0.6e-12, 0), (0.5, 2.0, 1), (1.0, 2.0, 0)]
)
def test_the_greedy_search_keeps_away_from_ties(sums: float, square: float, independent: int) -> None:
    """A sum within 1e-12 of the level may be on either side of it in exact arithmetic."""
    squares = np.array([[square, sums], [0.0, 2.0]])
    path = np.zeros(2, np.int64)
    length, _ = kernels.greedy_sequences(squares, np.array([1.0]), np.array([[1, 0]]), path)
    assert length == 1 + independent


@given(seeds)
@settings(max_examples=30)
def test_the_scale_of_an_exact_witness_is_the_lowest(seed: int) -> None:
    """Levels are epsilon^2 or a sum of squares of the witness; the scale is the root of the lowest at which all are independent."""
    values = random_squares(seed, 5, 4)
    found = eluder_dimension(values, 0.5)
    squares = values**2
    sums = [squares[:, list(found.witness[:k])].sum(axis=1) for k in range(found.lower)]
    levels = {0.25, *(float(v) for s in sums for v in s if v >= 0.25)}
    good = [e for e in levels if all(np.any((s <= e) & (squares[:, x] > e)) for s, x in zip(sums, found.witness, strict=True))]
    assert found.lower == 0 or found.scale == pytest.approx(np.sqrt(min(good)), rel=1e-15)


def test_roots_of_large_integers_are_rounded_once() -> None:
    for square, denominator in ((2, 1), (10**40 + 1, 10**20), (3, 1 << 70), (1 << 1200, 1 << 610)):
        exact = Fraction(square, denominator**2)
        root = _root(square, denominator)
        assert Fraction(np.nextafter(root, 0.0)) ** 2 < exact < Fraction(np.nextafter(root, np.inf)) ** 2
    assert _root(1 << 4000, 1) == np.inf


def test_arrays_of_the_search_are_large_enough() -> None:
    """Compiled code does not check bounds: its plain twin does, on classes of the largest dimension and of the most intervals."""
    for values, longest in ((np.eye(4), 4), (np.array([*([a, a + 0.25, 20.0] for a in range(1, 11)), [12.0, 12.0, 0.0], [0.0, 0.0, 30.0]]), 3)):
        rank, floor, ordered, _ = _ranks(values, 0.5)
        points = values.shape[1]
        path = np.zeros(points, np.int64)
        length, scale = kernels.search.py_func(rank, points, floor, len(ordered), path)
        assert (length, scale) == kernels.search(rank, points, floor, len(ordered), np.zeros(points, np.int64))
        assert length == longest
        tables = [np.zeros((1 << points, 16), np.int64), np.zeros((1 << points, 16), np.int64), np.zeros(1 << points, np.int64)]
        assert kernels.subsets.py_func(rank, points, floor, len(ordered), *tables) == 0
        assert tables[2][-1] > 0
