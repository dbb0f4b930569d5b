"""The learners against plain loops over samples and levels, written from the statements: every regression is solved on its own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, minimize_scalar

from certify.robust import certify_pair, dr_rpo, evaluate_policy, exact_value, offline_dataset, r2pvi, sample_dataset
from certify.robust._duals import band_kl, constrained_kl, penalised_chi2
from mdps import LinearMDP
from mdps.families import random_linear
from mdps.robust import worst_case

RIDGE = 0.3


def ridge_regression(phi, targets, ridge=RIDGE):
    return np.linalg.solve(ridge * np.eye(phi.shape[1]) + phi.T @ phi, phi.T @ targets)


def worst_of_factors(phi, values, kind, size, low, cap, floor=0.5):
    """The uncentred estimate of every factor: the dual of each statement, with a regression of its own for each level."""

    def fit(targets):
        return ridge_regression(phi, targets)

    if kind == "nominal":
        return fit(values)
    if kind == "tv":
        return fit(np.minimum(values, low + size))
    if kind == "kl":
        return -size * np.log(np.maximum(fit(np.exp(-values / size)), np.exp(-cap / size)))
    if kind == "tv-radius":
        levels = [low, cap, *values[(values > low) & (values < cap)]]
        return np.max([fit(np.minimum(values, a)) - size * (a - low) for a in levels], axis=0)
    if kind == "kl-radius":
        result = []
        for i in range(phi.shape[1]):

            def dual(log_a, i=i):
                a = math.exp(log_a)
                return -a * math.log(max(fit(np.exp(-values / a))[i], math.exp(-cap / a))) - a * size

            grid = np.linspace(math.log(floor), 12.0, 120)
            best = grid[np.argmax([dual(x) for x in grid])]
            found = minimize_scalar(lambda x: -dual(x), bounds=(max(best - 0.2, math.log(floor)), best + 0.2), method="bounded", options={"xatol": 1e-10})
            result.append(max(-found.fun, dual(math.log(floor))))
        return np.array(result)
    best = np.full(phi.shape[1], -np.inf)
    for a in [*np.linspace(low, max(values.max(), low), 801), *values]:
        first, second = np.clip(fit(np.minimum(values, a)), 0, cap), np.clip(fit(np.minimum(values, a) ** 2), 0, cap**2)
        best = np.maximum(best, first + (first**2 - second) / (4 * size))
    return best


def offline_twin(data, features, theta, *, kind, size, beta, form="coordinates", minimum="all", reward_bound=1.0):
    """Q (H, S, A) by loops over steps, states and actions."""
    H, S, A, d = features.shape
    Q, V = np.zeros((H, S, A)), np.zeros((H + 1, S))
    for h in reversed(range(H)):
        phi = np.array([features[h, s, a] for s, a in zip(data.states[:, h], data.actions[:, h], strict=True)])
        inverse = np.linalg.inv(RIDGE * np.eye(d) + phi.T @ phi)
        w = np.zeros(d)
        if h < H - 1:
            low = V[h + 1].min() if minimum == "all" else min(V[h + 1][s] for s in data.next_states[:, h]) if minimum == "observed" else minimum
            price = size[h] if np.ndim(size) else size
            w = worst_of_factors(phi, V[h + 1][data.next_states[:, h]], kind, price, low, reward_bound * H)
        reward = ridge_regression(phi, phi @ theta[h]) if form == "norm" else theta[h]
        for s in range(S):
            for a in range(A):
                x = features[h, s, a]
                width = sum(x[i] * math.sqrt(inverse[i, i]) for i in range(d))
                if form != "coordinates":
                    width = math.sqrt(x @ inverse @ x if form == "norm" else sum(x[i] ** 2 * inverse[i, i] for i in range(d)))
                Q[h, s, a] = min(max(x @ (reward + w) - beta * width, 0.0 if form == "coordinates" else -math.inf), reward_bound * (H - h))
        V[h] = Q[h].max(axis=1)
    return Q


def other_features(seed, states=5, actions=2, dimension=3, horizon=4):
    """Features, factors and rewards of their own at every step."""
    rng = np.random.default_rng(seed)
    features = rng.dirichlet(np.ones(dimension), (horizon, states, actions))
    return LinearMDP(features, rng.dirichlet(np.full(states, 0.6), (horizon, dimension)), rng.uniform(0, 1, (horizon, dimension)), horizon=horizon)


CASES = [
    ("pevi", {"method": "pevi", "divergence": "tv"}, "nominal", 1.0),
    ("free", {"divergence": "kl", "penalty": math.inf}, "nominal", 1.0),
    ("tv", {"divergence": "tv", "penalty": 0.4}, "tv", 0.4),
    ("kl", {"divergence": "kl", "penalty": 0.7}, "kl", 0.7),
    ("chi2", {"divergence": "chi2", "penalty": 0.3}, "chi2", 0.3),
    ("drpvi", {"method": "drpvi", "divergence": "tv", "radius": 0.15}, "tv-radius", 0.15),
    ("drpvi-by-step", {"method": "drpvi", "divergence": "tv", "radius": [[0.1] * 3, [0.3] * 3, [0.05] * 3, [0.9] * 3]}, "tv-radius", [0.1, 0.3, 0.05, 0.9]),
    ("drvi-l", {"method": "drvi-l", "divergence": "kl", "radius": 0.1, "dual_floor": 0.5}, "kl-radius", 0.1),
]


@pytest.mark.parametrize(("name", "options", "kind", "size"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("minimum", ["all", "observed", 0.0])
def test_offline_learners_against_loops_over_samples(name, options, kind, size, minimum):
    for seed in range(2):
        model = other_features(seed)
        data = sample_dataset(model, trajectories=9, seed=seed)
        if minimum == 0.0 and kind == "tv":
            continue  # a declared least value must be the least one
        for bound in (1.0, 1.5):
            found = r2pvi(data, model.features, model.reward_weights, ridge=RIDGE, beta=0.05, minimum=minimum, reward_bound=bound, **options)
            twin = offline_twin(data, model.features, model.reward_weights, kind=kind, size=size, beta=0.05, minimum=minimum, reward_bound=bound)
            assert found.action_value == pytest.approx(twin, abs=1e-4 if kind in ("chi2", "kl-radius") else 1e-10)
            assert found.value == pytest.approx(found.action_value.max(axis=2), abs=0.0)


@pytest.mark.parametrize(("options", "kind", "size", "form"), [
    ({"method": "pevi", "divergence": "tv"}, "nominal", 1.0, "norm"), ({"divergence": "tv", "penalty": 0.4}, "tv", 0.4, "squares"),
    ({"divergence": "kl", "penalty": 0.7}, "kl", 0.7, "squares"), ({"method": "drpvi", "divergence": "tv", "radius": 0.15}, "tv-radius", 0.15, "squares"),
])  # fmt: skip
def test_the_forms_of_the_published_code_against_loops_over_samples(options, kind, size, form):
    model = other_features(1)
    data = sample_dataset(model, trajectories=9, seed=1)
    for beta in (0.05, 2.0):
        found = r2pvi(data, model.features, model.reward_weights, ridge=RIDGE, beta=beta, protocol="official-exact", **options)
        twin = offline_twin(
            data, model.features, model.reward_weights, kind=kind, size=size, beta=beta, minimum=0.0 if kind == "tv-radius" else "observed", form=form
        )
        assert found.action_value == pytest.approx(twin, abs=1e-10)


def test_variance_weights_against_loops_over_samples():
    model = other_features(3, horizon=5)
    data = sample_dataset(model, trajectories=40, seed=3)
    scaled = 4.0 * model.reward_weights
    H, d = 5, 3
    found = r2pvi(data, model.features, scaled, method="va-drpvi", divergence="tv", radius=0.1, ridge=RIDGE, beta=0.05, reward_bound=4.0)
    first = offline_dataset(np.concatenate([data.states, data.next_states[:, -1:]], axis=1)[::2], data.actions[::2])
    pilot = r2pvi(first, model.features, scaled, method="drpvi", divergence="tv", radius=0.1, ridge=RIDGE, beta=0.05, reward_bound=4.0).value
    V, weighed = np.zeros((H + 1, 5)), False
    for h in reversed(range(H)):
        states, actions, following = data.states[:, h], data.actions[:, h], data.next_states[:, h]
        phi = model.features[h][states, actions]
        variance = np.ones(len(phi))
        if h < H - 1:
            seen = pilot[h + 1][following[::2]]
            mean = np.clip(phi @ ridge_regression(phi[::2], seen), 0, 4.0 * (H - h))
            square = np.clip(phi @ ridge_regression(phi[::2], seen**2), 0, (4.0 * (H - h)) ** 2)
            variance = np.maximum(square - mean**2, 1.0)
            weighed |= bool(variance.max() > 1.0)
        root = 1 / np.sqrt(variance[1::2, None])
        x, values, low = phi[1::2] * root, V[h + 1][following[1::2]], V[h + 1].min()
        w = np.zeros(d)
        if h < H - 1:
            levels = [low, 4.0 * H, *values]
            w = np.max([ridge_regression(x, np.minimum(values, a) * root[:, 0]) - 0.1 * (a - low) for a in levels if a >= low], axis=0)
        deviation = np.sqrt(np.diag(np.linalg.inv(RIDGE * np.eye(d) + x.T @ x)))
        Q = np.clip(model.features[h] @ (scaled[h] + w - 0.05 * deviation), 0, 4.0 * (H - h))
        assert found.action_value[h] == pytest.approx(Q, abs=1e-9)
        V[h] = Q.max(axis=1)
    assert weighed


def half_range_constant(phi, horizon, delta, events):
    """c_h of the data-split certificate from the eigenvalues of the regression."""
    d = phi.shape[1]
    growth = np.log(np.linalg.eigvalsh(RIDGE * np.eye(d) + phi.T @ phi) / RIDGE).sum()
    return 0.5 * (math.sqrt(RIDGE * d) + math.sqrt(growth + 2 * math.log(horizon * events / delta)))


def centred_fit(phi, targets, low, high):
    middle = (low + high) / 2
    return middle + ridge_regression(phi, targets - middle)


def split_twin(data, model, kind, size, sign, delta):
    """Values and pessimism per coordinate of one sweep of the certificate: a fold for each step, centred targets."""
    H, S, _, d = model.features.shape
    V, bonuses = np.zeros((H + 1, S)), np.zeros((H, d))
    for h in reversed(range(H)):
        fold = np.arange(h, len(data.states), H)
        phi = np.array([model.features[h, s, a] for s, a in zip(data.states[fold, h], data.actions[fold, h], strict=True)])
        deviation = np.sqrt(np.diag(np.linalg.inv(RIDGE * np.eye(d) + phi.T @ phi)))
        low, high = V[h + 1].min(), V[h + 1].max()
        R = high - low
        w, bonus = np.full(d, low), np.zeros(d)
        if R > 0:
            values = V[h + 1][data.next_states[fold, h]]
            thresholds = len(np.unique(V[h + 1])) - 1 if kind in ("tv-radius", "kl-radius", "chi2") else 1
            c = half_range_constant(phi, H, delta, 2 * thresholds)
            reach = R
            if kind == "nominal":
                w, beta = centred_fit(phi, values, low, high), R * c
            elif kind == "tv":
                w, beta, reach = centred_fit(phi, np.minimum(values, low + size), low, min(high, low + size)), min(R, size) * c, min(R, size)
            elif kind == "kl":
                ends = np.exp(-low / size), np.exp(-high / size)
                w = np.minimum(-size * np.log(np.maximum(centred_fit(phi, np.exp(-values / size), *ends), 1e-300)), high)
                beta = size * math.expm1(R / size) * c
            elif kind == "kl-radius":
                # the law of the value is known within c sqrt(Lambda^-1_ii) at every threshold, and its two ends enclose the worst case
                levels = np.unique(V[h + 1])
                above = np.array([centred_fit(phi, (values > t).astype(float), 0.0, 1.0) for t in levels[:-1]])
                ends = []
                for sign_of_band in (-1, 1):
                    worst = []
                    for i in range(d):
                        reach = [min(max(x + sign_of_band * c * deviation[i], 0.0), 1.0) for x in above[:, i]]
                        end = [max(reach[k:]) if sign_of_band < 0 else min(reach[: k + 1]) for k in range(len(reach))]
                        worst.append(worst_case(levels, -np.diff([1.0, *end, 0.0]), divergence="kl", radius=size).value)
                    ends.append(np.array(worst))
                w, bonus = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
                beta = R * c
            elif kind == "tv-radius":
                w = np.max([centred_fit(phi, np.minimum(values, a), low, a) - size * (a - low) for a in [low, high, *values]], axis=0)
                beta = R * c
            else:
                best = np.full(d, -np.inf)
                for a in np.unique([*values, *np.linspace(low, high, 2001)]):
                    one = centred_fit(phi, np.minimum(values, a), low, a)
                    two = low**2 + 2 * low * (one - low) + centred_fit(phi, (np.minimum(values, a) - low) ** 2, 0, (a - low) ** 2)
                    b = np.clip(one, max(a - 2 * size, low), a)
                    best = np.maximum(best, one - (two - 2 * b * one + b * b) / (4 * size))
                w, beta = best, R * (1 + R / (4 * size)) * c
            if kind != "kl-radius":
                bonus = np.minimum(beta * deviation + (R / 2048 if kind == "chi2" else 0.0), reach)
                w = np.clip(w, low, low + reach)
        bonuses[h] = bonus
        V[h] = np.clip(model.features[h] @ (model.reward_weights[h] + w + sign * bonus), 0, H - h).max(axis=1)
    return V, bonuses


SPLIT = [
    ({"method": "pevi", "divergence": "tv"}, "nominal", 1.0),
    ({"divergence": "tv", "penalty": 0.4}, "tv", 0.4),
    ({"divergence": "kl", "penalty": 1.5}, "kl", 1.5),
    ({"divergence": "chi2", "penalty": 0.8}, "chi2", 0.8),
    ({"divergence": "chi2", "penalty": 0.1}, "chi2", 0.1),
    ({"method": "drvi-l", "divergence": "kl", "radius": 0.15}, "kl-radius", 0.15),
    ({"method": "drpvi", "divergence": "tv", "radius": 0.15}, "tv-radius", 0.15),
]


@pytest.mark.parametrize(("options", "kind", "size"), SPLIT, ids=[f"{kind}-{size}" for _, kind, size in SPLIT])
def test_the_certificate_against_loops_over_its_folds(options, kind, size):
    model = other_features(7)
    data = sample_dataset(model, trajectories=6000, seed=2)
    found = r2pvi(data, model.features, model.reward_weights, ridge=RIDGE, delta=0.2, **options)
    below, bonus = split_twin(data, model, kind, size, -1.0, 0.2)
    above, _ = split_twin(data, model, kind, size, +1.0, 0.2)
    loose = 1e-4 if kind == "chi2" else 1e-8
    assert found.bonus == pytest.approx(bonus, abs=loose)
    assert found.bonus[:-1].min() > 0
    assert found.lower == pytest.approx(np.maximum(below[0], 0), abs=loose)
    assert found.upper == pytest.approx(np.minimum(above[0], 4), abs=loose)
    if kind != "chi2":
        assert np.all(found.lower <= np.maximum(below[0], 0) + 1e-13)
        assert np.all(found.upper >= np.minimum(above[0], 4) - 1e-13)


def test_points_of_a_continuous_space_are_those_of_the_table():
    """A table looked up by a feature map gives the published estimates of the table, and certificates with a fixed grid of values."""
    model = other_features(5)
    data = sample_dataset(model, trajectories=800, seed=5)
    whole = np.concatenate([data.states, data.next_states[:, -1:]], axis=1)
    points = offline_dataset(whole[..., None].astype(float), data.actions)

    def features(step, where):
        return model.features[step][where[:, 0].astype(int)]

    first = np.unique(data.states[:, 0])
    for options in ({"divergence": "kl", "penalty": 0.7}, {"method": "drpvi", "divergence": "tv", "radius": 0.15}):
        table = r2pvi(data, model.features, model.reward_weights, ridge=RIDGE, beta=0.05, minimum=0.0, **options)
        mapped = r2pvi(points, features, model.reward_weights, ridge=RIDGE, beta=0.05, minimum=0.0, **options)
        assert mapped.weights == pytest.approx(table.weights, abs=1e-10)
        assert mapped.value[0] == pytest.approx(table.value[0][first], abs=1e-10)
    few = offline_dataset(whole[:8, :, None].astype(float), data.actions[:8])
    for options in ({"divergence": "kl", "penalty": 0.7}, {"divergence": "chi2", "penalty": 0.7}, {"method": "drpvi", "divergence": "tv", "radius": 0.15}):
        certified = r2pvi(few, features, model.reward_weights, ridge=RIDGE, **options)
        steps_left = np.arange(3, -1, -1)
        assert np.all(certified.bonus.max(axis=1) <= steps_left + 1e-9)  # no estimate is off by more than what the steps left can pay
        assert certified.bonus[0].max() == pytest.approx(3.0)


def test_a_least_value_is_checked_at_the_last_step():
    features = np.zeros((2, 1, 2))
    features[:, 0] = np.eye(2)
    data = offline_dataset([[0, 1, 0], [1, 0, 1]], [[0, 0], [0, 0]])
    found = r2pvi(data, features, [[0.9, 0.9], [0.2, 0.5]], divergence="tv", penalty=1.0, minimum=0.2)
    assert found.certified
    with pytest.raises(ValueError, match=r"minimum must be the least value of every value function, got 0.9; at the last step it is 0.2"):
        r2pvi(data, features, [[0.9, 0.9], [0.2, 0.5]], divergence="tv", penalty=1.0, minimum=0.9)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.floats(0.01, 0.5))
def test_the_published_kl_dual_of_laws_is_the_worst_case_from_below(seed, radius, floor):
    rng = np.random.default_rng(seed)
    values, rows = rng.uniform(0, 3, 8), rng.dirichlet(np.full(8, 0.5), 3)
    found = constrained_kl(rows, values, np.full(3, radius), 3.0, floor)
    exact = np.array([worst_case(values, p, divergence="kl", radius=radius).value for p in rows])
    assert np.all(found <= exact + 1e-9)
    tiny = constrained_kl(rows, values, np.full(3, radius), 3.0, 1e-4)
    assert tiny == pytest.approx(exact, abs=1e-3)
    # at the floor itself the dual is a number that can be written down
    at_floor = -floor * np.log((rows * np.exp(-values / floor)).sum(axis=1)) - floor * radius
    assert np.all(found >= at_floor - 1e-12)
    if radius == 0.0:
        assert found == pytest.approx(rows @ values, abs=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 4.0))
def test_the_published_chi2_dual_of_laws_is_the_worst_case(seed, penalty):
    rng = np.random.default_rng(seed)
    values, rows = rng.uniform(0, 2, 6), rng.dirichlet(np.full(6, 0.5), 2)
    found = penalised_chi2(rows, values, penalty, float(values.min()), float(values.max()), 2.0)
    exact = [worst_case(values, p, divergence="chi2", penalty=penalty).value for p in rows]
    assert found == pytest.approx(exact, abs=2e-3)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0.01, 0.3))
def test_the_band_is_as_narrow_as_its_ends(seed, radius, width):
    """The least and the greatest law within the band are stochastically ordered ends, written down one level at a time."""
    rng = np.random.default_rng(seed)
    values, law = np.sort(rng.uniform(0, 3, 6)), rng.dirichlet(np.full(6, 0.7))
    lower, upper = band_kl(law[None], values, np.array([radius]), np.array([width]))
    for sign, found in ((-1.0, lower[0]), (1.0, upper[0])):
        reach = [min(max(law[k:].sum() + sign * width, 0.0), 1.0) for k in range(1, 6)]
        end = [max(reach[k:]) if sign < 0 else min(reach[: k + 1]) for k in range(5)]
        masses = -np.diff([1.0, *end, 0.0])
        assert found == pytest.approx(worst_case(values, masses, divergence="kl", radius=radius).value, abs=1e-9)


def soft(q, reference, eta):
    if eta == 0.0:
        best = max((a for a in range(len(q)) if reference[a] > 0), key=lambda a: (q[a], -a))
        return q[best], np.eye(len(q))[best]
    top = q.max()
    weight = reference * np.exp((q - top) / eta)
    return top + eta * math.log(weight.sum()), weight / weight.sum()


def signed_worst(kind, weight, v, low, size, steps):
    """Worst case of one factor under signed weights, by brute force over levels."""
    if kind == "kl":
        return low - size * math.log(
            min(max(1 + sum(w * math.expm1(-(x - low) / size) for w, x in zip(weight, v, strict=True)), math.exp(-(steps - low) / size)), 1)
        )
    if kind == "tv":
        return float(weight @ np.minimum(v, low + size))
    if kind == "tv-radius":
        return max(float(weight @ np.minimum(v, a) - size * (a - low)) for a in v)
    best, points = -math.inf, np.sort(v)
    for a in {x + 0.25 * k * (y - x) for x, y in zip(points, [*points[1:], points[-1]], strict=True) for k in range(4)}:
        one, two = min(max(float(weight @ np.minimum(v, a)), 0), steps), min(max(float(weight @ np.minimum(v, a) ** 2), 0), steps**2)
        best = max(best, one + (one**2 - two) / (4 * size))
    return best


def online_twin(model, *, kind, sizes, episodes, ridge, beta, eta, reference, fail, root, uniforms, start):
    """DR-RPO with a regression solved anew at every step of every episode."""
    H, S, A, d = model.features.shape
    history = [([], []) for _ in range(H)]
    promised, policies = [], []
    for k in range(episodes):
        V, pi = np.zeros((H + 1, S)), np.zeros((H, S, A))
        for h in reversed(range(H)):
            phi, following = np.array(history[h][0]).reshape(-1, d), history[h][1]
            inverse = np.linalg.inv(ridge * np.eye(d) + phi.T @ phi)
            low = V[h + 1].min() if fail is None else 0.0
            target = model.reward_weights[h].copy()
            if h < H - 1:
                weight = np.zeros((d, S))
                for x, s in zip(phi, following, strict=True):
                    weight[:, s] += inverse @ x
                target += [signed_worst(kind, weight[i], V[h + 1], low, sizes[h, i], H - h - 1.0) for i in range(d)]
            for s in range(S):
                x = model.features[h, s]
                width = np.sqrt((x**2) @ np.diag(inverse)) if root else x @ np.sqrt(np.diag(inverse))
                q = np.zeros(A) if s == fail else np.minimum(x @ target + beta * width, H - h)
                V[h, s], pi[h, s] = soft(q, reference, eta)
        promised.append(start @ V[0])
        policies.append(pi)
        s = int(np.searchsorted(np.cumsum(start), uniforms[k, 0], side="right"))
        for h in range(H):
            a = int(np.searchsorted(np.cumsum(pi[h, s]), uniforms[k, 1 + 2 * h], side="right"))
            x = model.features[h, s, a]
            after = int(np.searchsorted(np.cumsum(x @ model.factors[h]), uniforms[k, 2 + 2 * h], side="right"))
            history[h][0].append(x)
            history[h][1].append(after)
            s = after
    return np.array(promised), policies, history


ONLINE = [("tv-radius", "tv", 0.2), ("tv", "tv", 0.4), ("kl", "kl", 0.5), ("chi2", "chi2", 0.5)]


@pytest.mark.parametrize(("kind", "divergence", "size"), ONLINE, ids=[kind for kind, _, _ in ONLINE])
@pytest.mark.parametrize(("eta", "root", "fails"), [(0.0, False, False), (0.2, True, False), (0.05, False, True), (0.0, True, True)])
def test_the_online_learner_against_one_that_solves_every_regression(kind, divergence, size, eta, root, fails):
    model = other_features(11, horizon=3)
    if fails:
        # state 4 pays nothing and stays: a factor of its own
        features, factors = np.zeros((3, 5, 2, 4)), np.zeros((3, 4, 5))
        features[:, :4, :, :3], features[:, 4, :, 3] = model.features[:, :4], 1.0
        factors[:, :3], factors[:, 3, 4] = model.factors, 1.0
        model = LinearMDP(features, factors, np.concatenate([model.reward_weights, np.zeros((3, 1))], axis=1), horizon=3)
    H, _, _, d = model.features.shape
    reference, start = np.array([0.7, 0.3]), np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    model = LinearMDP(model.features, model.factors, model.reward_weights, horizon=3, initial=start)
    sizes = np.broadcast_to(size, (H, d))
    price = {"radius": size} if kind == "tv-radius" else {"penalty": size}
    common = {"divergence": divergence, "temperature": eta, "reference": reference, **price}
    episodes = 12
    found = dr_rpo(model, episodes=episodes, ridge=0.7, beta=0.3, bonus="root" if root else "sum", seed=9, fail_state=4 if fails else None, **common)
    uniforms = np.random.Generator(np.random.Philox(np.random.SeedSequence(9))).random((episodes, 1 + 2 * H))
    promised, policies, history = online_twin(
        model, kind=kind, sizes=sizes, episodes=episodes, ridge=0.7, beta=0.3, eta=eta, reference=reference, fail=4 if fails else None, root=root,
        uniforms=uniforms, start=start,
    )  # fmt: skip
    assert found.promised == pytest.approx(promised, abs=1e-9)
    assert found.policy == pytest.approx(policies[-1], abs=1e-9)
    earned = [start @ evaluate_policy(model, pi, **common).value[0] for pi in policies]
    assert found.value == pytest.approx(np.array(earned), abs=1e-9)
    assert found.optimal_value == pytest.approx(start @ exact_value(model, **common).value[0], abs=1e-12)
    assert found.average_suboptimality == pytest.approx([found.suboptimality[: k + 1].mean() for k in range(episodes)])
    for h in range(H):
        gram = np.array(history[h][0]).T @ np.array(history[h][0])
        used = np.diag(gram) > 1e-9
        assert found.coverage[h] == pytest.approx(max(np.linalg.eigvalsh(gram[np.ix_(used, used)])[0], 0) / episodes, abs=1e-9)


def policy_by_program(model, pi, divergence, size, charged, eta, reference):
    """The robust value of a policy with a convex program (or a linear one) for every factor of every step."""
    H, S, _, d = model.features.shape
    V = np.zeros((H + 1, S))
    for h in reversed(range(H)):
        worst = np.zeros(d)
        for i in range(d):
            q = model.factors[h, i]
            if divergence == "tv":
                # p - q = up - down, half the sum of both is the distance
                cost = np.concatenate([V[h + 1], -V[h + 1]]) + (0.5 * size if charged else 0.0)
                rows = None if charged else np.full((1, 2 * S), 0.5)
                solution = linprog(
                    cost, A_ub=rows, b_ub=None if charged else [size], A_eq=[[1.0] * S + [-1.0] * S], b_eq=[0.0], bounds=[(0, None)] * S + [(0, m) for m in q]
                )
                worst[i] = q @ V[h + 1] + solution.fun
            else:

                def charge(p, q=q):
                    return float(np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0))) if divergence == "kl" else float(np.sum((p - q) ** 2 / q))

                constraints = [{"type": "eq", "fun": lambda p: p.sum() - 1}]
                if not charged:
                    constraints.append({"type": "ineq", "fun": lambda p, charge=charge: size - charge(p)})
                target = V[h + 1]
                found = minimize(lambda p, charge=charge, target=target: p @ target + (size * charge(p) if charged else 0.0), q, bounds=[(0, 1)] * S, constraints=constraints, method="SLSQP",
                                 options={"ftol": 1e-12, "maxiter": 500})  # fmt: skip
                worst[i] = found.fun
        for s in range(S):
            gains = model.features[h, s] @ (model.reward_weights[h] + worst)
            spent = sum(p * math.log(p / r) for p, r in zip(pi[h, s], reference, strict=True) if p > 0)
            V[h, s] = pi[h, s] @ gains - eta * spent
    return V


@pytest.mark.parametrize("divergence", ["tv", "kl", "chi2"])
@pytest.mark.parametrize(("charged", "size"), [(True, 0.5), (False, 0.15)])
def test_policies_against_a_program_for_every_factor(divergence, charged, size):
    rng = np.random.default_rng(4)
    model = other_features(2, horizon=3)
    factors = 0.9 * model.factors + 0.1 / 5
    model = LinearMDP(model.features, factors / factors.sum(axis=-1, keepdims=True), model.reward_weights, horizon=3)
    pi, reference = rng.dirichlet(np.ones(2), (3, 5)), np.array([0.6, 0.4])
    price = {"penalty": size} if charged else {"radius": size}
    found = evaluate_policy(model, pi, divergence=divergence, temperature=0.3, reference=reference, **price)
    exact = policy_by_program(model, pi, divergence, size, charged, 0.3, reference)
    assert found.value == pytest.approx(exact, abs=1e-9 if divergence == "tv" else 1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_a_certificate_claims_little_for_rounding(scale):
    model = random_linear(5, 3, 3, horizon=4, seed=1)
    scaled = LinearMDP(model.features, model.factors, scale * model.reward_weights, horizon=4)
    for options in ({"divergence": "kl", "penalty": 0.5 * scale}, {"divergence": "tv", "radius": 0.2}):
        found = exact_value(scaled, **options)
        assert 0 < found.certificate.rounding < 2e-12 * max(scale, 1.0)
        assert np.all(found.upper - found.lower < 1e-11 * max(scale, 1.0))
        assert np.all(found.lower <= found.certificate.policy_value - found.certificate.rounding)
        assert np.all(found.upper >= found.certificate.kernel_value + found.certificate.rounding)
        pair = certify_pair(scaled, np.zeros(5, dtype=int), scaled.factors, **options)
        assert pair.gap == pytest.approx(float((pair.kernel_value - pair.policy_value).max()), abs=0.0)
        assert pair.gap > 0


def test_counts_of_many_states_are_kept_sparse(monkeypatch):
    from certify.robust import _design

    model = other_features(8)
    data = sample_dataset(model, trajectories=30, seed=8)
    args = (model.features[0], data.states[:, 0], data.actions[:, 0], data.next_states[:, 0], model.features[0] @ model.reward_weights[0], RIDGE)
    for precision in (None, np.linspace(0.2, 1.0, 10).reshape(5, 2)):
        dense = _design.count_design(*args, precision)
        with monkeypatch.context() as patch:
            patch.setattr(_design, "_DENSE_COUNTS", 0)
            sparse = _design.count_design(*args, precision)
        for name in ("inverse", "weights", "mass", "reward", "log_determinant", "error"):
            assert getattr(sparse, name) == pytest.approx(getattr(dense, name), rel=1e-12)
        assert sparse.seen.tolist() == dense.seen.tolist()
        # by hand, sample by sample
        weight = np.ones(30) if precision is None else precision[data.states[:, 0], data.actions[:, 0]]
        phi = model.features[0][data.states[:, 0], data.actions[:, 0]]
        gram = RIDGE * np.eye(3) + (phi * weight[:, None]).T @ phi
        onehot = np.eye(5)[data.next_states[:, 0]]
        assert dense.weights == pytest.approx(np.linalg.solve(gram, (phi * weight[:, None]).T @ onehot), abs=1e-12)
        assert dense.log_determinant == pytest.approx(math.log(np.linalg.det(gram / RIDGE)), rel=1e-10)
        assert dense.mass == pytest.approx(phi.sum(axis=0))
        assert 0 < dense.error < 1e-10


@pytest.mark.parametrize("power", [-1.0, -0.5])
def test_the_slope_of_a_power_law_is_its_power(power):
    from certify.robust import OnlineResult

    average = 0.3 * np.arange(1.0, 2001.0) ** power
    nothing = np.zeros(0)
    run = OnlineResult(1.0, np.ones(2000), average, nothing, nothing, nothing, {})
    for first in (None, 1, 7):
        assert run.slope(first=first) == pytest.approx(power, abs=1e-12)


def test_the_printed_bound_adds_the_widest_state_of_every_step():
    """Two states with a factor each, seen at different rates in so many episodes that the printed constants say something."""
    counts = np.array([500_000, 300_000])
    states = np.repeat([0, 1], counts)
    data = offline_dataset(np.stack([states, states], axis=1), np.zeros((counts.sum(), 1), dtype=int))
    features = np.eye(2)[:, None, :]
    found = r2pvi(data, features, [0.2, 0.3], divergence="chi2", penalty=1e6, beta="printed")
    xi = math.log(192.0) + 5 * math.log(800_000) + 3 * math.log(2) + 3 * math.log1p(1 / 2e6) - math.log(0.1)
    beta = 8 * 2 * (1 + 1e-6) * math.sqrt(xi)
    lower = np.array([0.2, 0.3]) - beta / np.sqrt(1 + counts)
    assert found.value[0] == pytest.approx(np.maximum(lower, 0.0), rel=1e-9)
    assert found.upper == pytest.approx(np.maximum(lower, 0.0) + 2 * beta / math.sqrt(1 + 300_000), rel=1e-9)
    assert found.upper.max() < 1.0


def test_the_slope_leaves_out_the_first_tenth():
    from certify.robust import OnlineResult

    k = np.arange(1.0, 1001.0)
    average = np.where(k < 100, 5.0, 3.0 / k)
    nothing = np.zeros(0)
    run = OnlineResult(1.0, np.ones(1000), average, nothing, nothing, nothing, {})
    assert run.slope() == pytest.approx(-1.0, abs=1e-12)
    assert run.slope(first=1) < -1.1
    short = OnlineResult(1.0, np.ones(4), 1.0 / np.arange(1.0, 5.0), nothing, nothing, nothing, {})
    assert short.slope() == pytest.approx(-1.0, abs=1e-12)


def test_a_factor_that_rounding_moved_is_in_a_set_of_radius_zero():
    model = other_features(6)
    moved = model.factors * (1 + 2e-16 * np.sign(np.random.default_rng(0).normal(size=model.factors.shape)))
    assert np.any(moved != model.factors)
    pair = certify_pair(model, np.zeros(5, dtype=int), moved / moved.sum(axis=-1, keepdims=True), divergence="tv", radius=0.0)
    assert np.isfinite(pair.gap)
    far = 0.999 * model.factors + 0.001 / 5
    with pytest.raises(ValueError, match="factors must lie in the set"):
        certify_pair(model, np.zeros(5, dtype=int), far, divergence="tv", radius=0.0)
