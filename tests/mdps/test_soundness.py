"""No wrong bracket: awkward random models against rational arithmetic, 2,000 in the default run and 100,000 in the full one."""

import numpy as np
import pytest

import mdps

DEFAULT, FULL = 2_000, 100_000


def awkward_model(seed, index):
    """At most ten states, discount up to 1 - 1e-6, rewards up to 1e12; every kind of structure that bounds have stumbled over."""
    rng = np.random.Generator(np.random.Philox(key=[seed, index]))
    S, A = int(rng.integers(1, 11)), int(rng.integers(1, 5))
    kind = int(rng.integers(0, 5))
    if kind == 0:
        P = rng.dirichlet(np.ones(S), size=(S, A))
    elif kind == 1:  # small integers, many exact zeros
        P = rng.integers(0, 8, size=(S, A, S)) * (rng.random((S, A, S)) < 0.4)
        P[P.sum(axis=-1) == 0, 0] = 1
        P = P / P.sum(axis=-1, keepdims=True)
    elif kind == 2:  # deterministic: periodic and multichain
        P = np.eye(S)[rng.integers(0, S, size=(S, A))]
    elif kind == 3:  # slow mixing
        leave = 10.0 ** -rng.uniform(0, 9)
        P = (1 - leave) * np.eye(S)[:, None, :] + leave * rng.dirichlet(np.ones(S) * 0.3, size=(S, A))
        P /= P.sum(axis=-1, keepdims=True)
    else:  # row sums off by almost as much as is allowed
        P = rng.dirichlet(np.ones(S) * 0.2, size=(S, A)) * (1 + rng.uniform(-9e-10, 9e-10, size=(S, A, 1)))
    discount = float(1 - 10.0 ** -rng.uniform(0.05, 6)) if rng.random() < 0.8 else 1 - 1e-6
    shape = (S, A) if rng.random() < 0.7 else (S, A, S)
    scale = 10.0 ** rng.uniform(-3, 12) if rng.random() < 0.7 else 1e12
    r = rng.normal(size=shape) * scale
    twist = int(rng.integers(0, 5))
    if twist == 0:
        r = -np.abs(r)
    elif twist == 1:
        r = np.round(r / scale * 2)
    elif twist == 2:
        r = r * (rng.random(shape) < 0.2)
    elif twist == 3:
        r = r * 10.0 ** rng.uniform(-12, 0, size=shape)
    return mdps.TabularMDP(P, np.clip(r, -1e12, 1e12), discount=discount)


def failures(seed, count, *, exact_every, distort=None):
    """Return how many brackets are wrong and how many runs missed the tolerance."""
    wrong = missed = 0
    for index in range(count):
        model = awkward_model(seed, index)
        solution = mdps.solve(model, raise_on_budget=False)
        lower, upper = solution.lower, solution.upper
        missed += not solution.converged
        if distort is not None:
            lower, upper = distort(lower, upper)
        sound = mdps.exact.check(model, lower, upper)
        if index % exact_every == 0:
            exact = mdps.exact.solve(model, policy=solution.policy).value
            sound &= bool((lower <= exact).all() and (exact <= upper).all())
            accuracy = max(abs(v - x) for v, x in zip(exact, map(mdps.exact.Fraction, solution.value.tolist()), strict=True))
            sound &= not solution.converged or accuracy <= 1e-8 * max(1, *map(abs, exact))
        wrong += not sound
    return wrong, missed


def test_no_wrong_bracket_in_two_thousand_models():
    wrong, missed = failures(20, DEFAULT, exact_every=10)
    assert wrong == 0
    assert missed <= DEFAULT // 100


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_no_wrong_bracket_in_a_hundred_thousand_models():
    wrong, missed = failures(21, FULL, exact_every=20)
    assert wrong == 0
    assert missed <= FULL // 100


def test_a_bracket_shrunk_to_a_tenth_is_caught():
    """Negative control: the same test finds a bracket whose rounding margin was taken away."""

    def shrunk(lower, upper):
        centre, radius = lower + (upper - lower) / 2, (upper - lower) / 2
        return centre - 0.1 * radius, centre + 0.1 * radius

    wrong, _ = failures(20, 60, exact_every=10**9, distort=shrunk)
    assert wrong >= 30
