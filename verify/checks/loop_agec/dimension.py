"""Checks of the complexity measures: pigeonhole principle, eluder dimension, elliptical potential, AGEC."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from theory import loop_agec
from verify.check import Check, Control
from verify.checks.loop_agec._classes import hard
from verify.checks.loop_agec._plots import BLUE, GREEN, GREY, ORANGE, RED, ratio_figure
from verify.types import Claim, Estimate, Instance, Slack

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from matplotlib.figure import Figure

__all__ = ["CHECKS", "two_dimensional_class"]

FloatArray = NDArray[np.float64]
_STATEMENTS = {g.key: g for g in loop_agec.GUARANTEES}


def _random_class(seed: int) -> FloatArray:
    rng = np.random.Generator(np.random.Philox(seed))
    functions, points = int(rng.integers(2, 8)), int(rng.integers(2, 6))
    return rng.uniform(-1.0, 1.0, size=(functions, points)) * (rng.random((functions, points)) < 0.8)


def _dimension(values: FloatArray, epsilon: float) -> int:
    from certify.complexity import eluder_dimension

    return eluder_dimension(values, epsilon).upper


# G6 ----------------------------------------------------------------------------------------------------------------------------


def _pigeon_instances(budget: str, seed: int) -> Iterator[Instance]:
    for index in range(8 if budget == "quick" else 100):
        for beta in (0.3, 1.0, 4.0):
            adversary = "greedy" if (index + int(beta)) % 2 else "random"
            params = {"class": "random", "seed": index, "beta": beta, "steps": 200, "adversary": adversary, "points": 0}
            yield Instance(f"class {index}, beta {beta}, {adversary}", params)
    scales = {"class": "scales", "seed": 0, "beta": 1.0, "steps": 2000, "adversary": "scales", "points": 3}
    yield Instance("multi-scale indicators", scales)
    yield Instance("indicators just above eps", {"class": "indicators", "seed": 0, "beta": 1.0, "steps": 400, "adversary": "greedy", "points": 4})


@lru_cache(maxsize=256)
def _adversary(kind: str, seed: int, beta: float, steps: int, adversary: str, points: int) -> tuple[Any, ...]:
    """Return the class, the scale eps, the errors e_t, and the sum of in-sample sums of a sequence that respects beta at all times."""
    if kind == "scales":
        per_point = steps // points
        sizes = np.sqrt(beta / np.arange(1, per_point + 1))
        errors = np.concatenate([sizes] * points)
        # On point x the k-th function c_k 1_x has seen x k - 1 times before: its in-sample sum is (k - 1) beta / k.
        inner = np.concatenate([(np.arange(per_point)) * sizes**2] * points)
        return np.kron(np.eye(points), sizes[:40, None]), 0.2, errors, float(inner.sum())
    values = 0.2001 * np.eye(points) if kind == "indicators" else _random_class(seed)
    epsilon = 0.2 if kind == "indicators" else 0.3
    rng = np.random.Generator(np.random.Philox([seed, 7]))
    magnitude, sums = np.abs(values), np.zeros(len(values))
    errors, double = np.zeros(steps), 0.0
    for t in range(steps):
        allowed = np.flatnonzero(sums <= beta)
        if allowed.size == 0:
            break
        offered = magnitude[allowed]
        if adversary == "greedy":
            f, x = divmod(int(np.argmax(offered)), offered.shape[1])
        else:
            f, x = int(rng.integers(len(allowed))), int(rng.integers(values.shape[1]))
        errors[t] = offered[f, x]
        double += sums[allowed[f]]
        sums += values[:, x] ** 2
    return values, epsilon, errors, double


def _pigeon_with(instance: Instance, less: int) -> tuple[Estimate, Estimate]:
    p = instance.params
    beta, steps = float(p["beta"]), int(p["steps"])
    values, epsilon, errors, double = _adversary(str(p["class"]), int(p["seed"]), beta, steps, str(p["adversary"]), int(p["points"]))
    largest = float(np.abs(values).max()) if p["class"] != "scales" else float(np.sqrt(beta))
    omega = 1.0 / steps
    if p["class"] == "scales":
        # All points carry every scale, so each exact dimension is the number of points (tested on the first 40 scales).
        dimension = fine = int(p["points"])
    else:
        dimension, fine = _dimension(values, epsilon), _dimension(values, omega)
    dimension, fine = dimension - less, fine - less
    left = [float((errors > epsilon).sum()), errors.sum(), (errors**2).sum(), errors.sum()]
    right = [
        loop_agec.pigeonhole_count(beta, epsilon, dimension),
        loop_agec.pigeonhole_sum(fine, beta, steps, largest, omega),
        loop_agec.pigeonhole_squares(fine, beta, steps, largest, omega),
        loop_agec.pigeonhole_weighted(fine, double, steps, largest, omega),
    ]
    return Estimate.numeric(left), Estimate.numeric(right)


def _pigeon_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the count, the sum and the sum of squares of an adversary's errors with the four bounds, at the exact dimension."""
    return _pigeon_with(instance, 0)


_G6 = Check(
    guarantee=_STATEMENTS["loop_agec/G6"],
    claim=Claim("<=", Slack(relative=1e-12)),
    instances=_pigeon_instances,
    sides=_pigeon_sides,
    controls=(
        Control(
            "dimension less one", lambda instance, seed: _pigeon_with(instance, 1),
            instances=lambda budget, seed: [i for i in _pigeon_instances(budget, seed) if i.params["points"] > 0],
        ),
    ),
    figure=ratio_figure(
        _pigeon_instances, _pigeon_sides, title="Adversaries against the pigeonhole bounds (exact dimension)", label="achieved / bound",
        parts=(r"count of $|\phi_t(x_t)| > \epsilon$", r"sum", r"sum of squares", r"sum, weighted form"),
    ),
    cost={"quick": 6.0, "full": 10.0},
)


# G7 ----------------------------------------------------------------------------------------------------------------------------


def two_dimensional_class() -> FloatArray:
    """Return a class of linear functions in two dimensions on seven points whose dimension at scale 0.5 is five."""
    angles = np.pi * np.arange(12) / 12.0
    points = np.array([[1.0, -0.5], [1.0, 0.5], [-0.75, 0.5], [0.5, -0.75], [-0.75, -0.25], [-1.0, -0.25], [0.0, 0.25]])
    return np.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1) @ points.T)


def _eluder_instances(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance("HARD(3, 10, 0.06), dimension 4", {"kind": "hard", "seed": 0, "d": 3})
    yield Instance("two-dimensional class, dimension 5", {"kind": "plane", "seed": 0, "d": 2})
    for epsilon in (0.05, 0.1, 0.5):
        yield Instance(f"one dimension, eps {epsilon}", {"kind": "line", "seed": int(epsilon * 100), "d": 1})
    for index in range(10 if budget == "quick" else 85):
        yield Instance(f"linear class {index}", {"kind": "linear", "seed": index, "d": 1 + index % 3})


def _eluder_class(instance: Instance) -> tuple[FloatArray, float, float, float]:
    """Return values, eps, R and L of an instance."""
    kind, seed, d = str(instance.params["kind"]), int(instance.params["seed"]), int(instance.params["d"])
    if kind == "hard":
        errors = hard(0.06).errors.reshape(8, -1)
        # As a linear class: <a, theta_f - theta*> with three parameters.
        return errors, 1e-3, 0.12 / np.sqrt(3.0) * hard(0.06).span, np.sqrt(3.0)
    if kind == "plane":
        return two_dimensional_class(), 0.5, 1.0, 1.12
    rng = np.random.Generator(np.random.Philox(seed))
    if kind == "line":
        # Points of one size: with points of different sizes even a line has a larger dimension.
        theta, x = np.linspace(-1.0, 1.0, 41)[:, None], np.array([[1.0], [-1.0]])
        return theta @ x.T, seed / 100.0, 1.0, 1.0
    theta, x = rng.normal(size=(8, d)), rng.normal(size=(7, d))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    x /= np.maximum(1.0, np.linalg.norm(x, axis=1, keepdims=True))
    return theta @ x.T, float(rng.uniform(0.1, 0.6)), 1.0, 1.0


_KNOWN = {"hard": 4, "plane": 5, "line": 1}


def _eluder_with(instance: Instance, cap: str) -> tuple[Estimate, Estimate]:
    from certify.complexity import eluder_dimension

    values, epsilon, radius, norm = _eluder_class(instance)
    exact = eluder_dimension(values, epsilon)
    largest = float(np.abs(values).max())
    if cap == "linear dimension":
        return Estimate.exact(exact.lower), Estimate.exact(int(instance.params["d"]))
    if cap == "own scale for every element":
        return Estimate.exact(_own_scales(values, epsilon)), Estimate.exact(exact.upper)
    greedy = eluder_dimension(values, epsilon, method="bracket", restarts=50)
    known = _KNOWN.get(str(instance.params["kind"]), exact.lower)
    left = [
        exact.lower, greedy.lower, exact.upper, eluder_dimension(values, 1.5 * epsilon).upper, eluder_dimension(values, largest).upper,
        exact.lower, known,
    ]
    right = [
        loop_agec.linear_eluder_bound(int(instance.params["d"]), radius, norm, epsilon), exact.lower, greedy.upper, exact.lower, 0,
        known, exact.lower,
    ]
    return Estimate.numeric(left), Estimate.numeric(right)


def _own_scales(values: FloatArray, epsilon: float) -> int:
    """Return the longest sequence when every element may use a scale of its own: another number, never smaller."""
    squares, points = values**2, values.shape[1]
    best = 0
    stack: list[tuple[int, ...]] = [()]
    seen: set[frozenset[int]] = set()
    while stack:
        path = stack.pop()
        best = max(best, len(path))
        sums = squares[:, list(path)].sum(axis=1) if path else np.zeros(len(values))
        for x in range(points):
            chosen = frozenset((*path, x))
            if x not in path and chosen not in seen and np.any(np.maximum(sums, epsilon**2) < squares[:, x]):
                seen.add(chosen)
                stack.append((*path, x))
    return best


def _eluder_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Order greedy <= exact <= information-gain bounds, monotony in eps, zero at the largest value, and the known dimensions."""
    return _eluder_with(instance, "bounds")


def _eluder_strategy() -> SearchStrategy[Instance]:
    from hypothesis import strategies as st

    return st.builds(lambda seed, d: Instance("linear class", {"kind": "linear", "seed": seed, "d": d}), st.integers(0, 10**6), st.integers(1, 4))


def _eluder_figure(figure: Figure) -> None:
    from certify.complexity import eluder_dimension

    axes = figure.subplots()
    scales = np.geomspace(0.05, 1.0, 14)
    values = two_dimensional_class()
    rows = [(eluder_dimension(values, e).lower, eluder_dimension(values, e, method="bracket")) for e in scales]
    axes.loglog(1 / scales, [loop_agec.linear_eluder_bound(2, 1.0, 1.12, e, c=1.0) for e in scales], ":", color=GREY, label="textbook bound, c = 1")
    axes.loglog(1 / scales, [loop_agec.linear_eluder_bound(2, 1.0, 1.12, e) for e in scales], "--", color=RED, label="bound, best c")
    axes.loglog(1 / scales, [max(b.upper, 0.5) for _, b in rows], "-", color=ORANGE, label="bracket, upper")
    axes.loglog(1 / scales, [max(b.lower, 0.5) for _, b in rows], "s", color=GREEN, markersize=7, fillstyle="none", label="bracket, lower (greedy)")
    axes.loglog(1 / scales, [max(n, 0.5) for n, _ in rows], "o", color=BLUE, markersize=4, label="exact")
    axes.axhline(2.0, color="black", linewidth=0.8, label="linear dimension")
    axes.set_xlabel(r"$1 / \epsilon$")
    axes.set_ylabel("eluder dimension")
    axes.set_title("Two-dimensional linear class on seven points")
    axes.legend(fontsize=8)


_G7 = Check(
    guarantee=_STATEMENTS["loop_agec/G7"],
    claim=Claim("<="),
    instances=_eluder_instances,
    sides=_eluder_sides,
    controls=(
        Control("linear dimension as the bound", lambda instance, seed: _eluder_with(instance, "linear dimension")),
        Control("a scale of its own for every element", lambda instance, seed: _eluder_with(instance, "own scale for every element")),
    ),
    figure=_eluder_figure,
    cost={"quick": 6.0, "full": 10.0},
    strategy=_eluder_strategy,
)


# G8 ----------------------------------------------------------------------------------------------------------------------------


def _potential_instances(budget: str, seed: int) -> Iterator[Instance]:
    yield Instance("orthonormal", {"kind": "orthonormal", "seed": 0, "d": 6, "steps": 6})
    yield Instance("aligned, w_t = t^-1/2", {"kind": "aligned", "seed": 0, "d": 1, "steps": 200})
    for index in range(30 if budget == "quick" else 300):
        yield Instance(f"random {index}", {"kind": "random", "seed": index, "d": 1 + index % 5, "steps": 50 + 5 * (index % 30)})


def _potential_with(instance: Instance, constant: float) -> tuple[Estimate, Estimate]:
    kind, d, steps = str(instance.params["kind"]), int(instance.params["d"]), int(instance.params["steps"])
    rng = np.random.Generator(np.random.Philox(int(instance.params["seed"])))
    ridge = 1.0
    x: FloatArray
    w: FloatArray
    if kind == "orthonormal":
        x, w = np.eye(d), np.eye(d)
    elif kind == "aligned":
        x, w = np.ones((steps, 1)), np.asarray(np.arange(1, steps + 1) ** -0.5, dtype=np.float64)[:, None]
    else:
        x, w = rng.normal(size=(steps, d)) * rng.uniform(0.2, 2.0), rng.normal(size=(steps, d))
        ridge = float(rng.uniform(0.1, 2.0))
    inner = w @ x.T
    before = np.tril(np.ones((len(x), len(x))), -1)
    beta = ((inner**2) * before).sum(axis=1)
    matrix, q = ridge * np.eye(d), np.zeros(len(x))
    for t, row in enumerate(x):
        q[t] = row @ np.linalg.solve(matrix, row)
        matrix += np.outer(row, row)
    information = float(np.linalg.slogdet(matrix)[1] - d * np.log(ridge)) * (np.log(2.0) * constant)
    errors = np.abs(np.diag(inner))
    weight, largest = float(np.linalg.norm(w, axis=1).max()), float(errors.max())
    bound = float(loop_agec.potential_bound(information))
    left = [np.minimum(1.0, q).sum(), float((q > 1.0).sum()), errors.sum(), (errors**2).sum()]
    right = [
        bound, bound,
        loop_agec.linear_dominance(information, ridge, weight, len(x), float(beta.sum()), largest),
        loop_agec.linear_transfer(information, ridge, weight, float(beta.max()), largest),
    ]
    return Estimate.numeric(left), Estimate.numeric(right)


def _potential_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the potential, the large steps and the linear errors with their bounds by the information gain."""
    return _potential_with(instance, 1.0 / np.log(2.0))


_G8 = Check(
    guarantee=_STATEMENTS["loop_agec/G8"],
    claim=Claim("<=", Slack(relative=1e-12, absolute=1e-12)),
    instances=_potential_instances,
    sides=_potential_sides,
    controls=(Control("constant 1 instead of 1/log 2", lambda instance, seed: _potential_with(instance, 1.0)),),
    figure=ratio_figure(
        _potential_instances, _potential_sides, title="Elliptical potential and linear errors against I / log 2", label="achieved / bound",
        parts=(r"$\sum \min(1, q_t)$", r"$\#\{q_t > 1\}$", r"$\sum |\langle w_t, x_t \rangle|$", r"$\sum \langle w_t, x_t \rangle^2$"),
    ),
    cost={"quick": 1.0, "full": 5.0},
)


# G9 ----------------------------------------------------------------------------------------------------------------------------


def _agec_instances(budget: str, seed: int) -> Iterator[Instance]:
    for points, steps in ((1, 4), (2, 4), (2, 5), (3, 3)):
        yield Instance(f"unit indicators on {points} points, T = {steps}", {"points": points, "steps": steps, "seed": -1})
    for index in range(3):
        yield Instance(f"random class {index}", {"points": 2, "steps": 4, "seed": index})


def _agec_errors(instance: Instance) -> FloatArray:
    points, seed = int(instance.params["points"]), int(instance.params["seed"])
    if seed < 0:
        return np.eye(points)
    return np.random.Generator(np.random.Philox(seed)).uniform(-1.0, 1.0, size=(2, points))


def _least(holds: Any) -> float:
    """Return the least number for which a monotone condition holds, by bisection."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _agec_direct(errors: FloatArray, steps: int, epsilon: float) -> list[float]:
    """Return d_G and kappa_G from their definition: the two inequalities on every sequence, and bisection."""
    rows = []
    pairs = list(itertools.product(range(errors.shape[0]), range(errors.shape[1])))
    for sequence in itertools.product(pairs, repeat=steps):
        played = np.array([errors[f, x] for f, x in sequence])
        inner = [sum(errors[f, x] ** 2 for _, x in sequence[:t]) for t, (f, _) in enumerate(sequence)]
        rows.append((played.sum(), (played**2).sum(), sum(inner), max(inner)))
    total, squares, double, largest = np.array(rows).T
    c = float(np.abs(errors).max())
    return [
        _least(lambda d: bool((total <= np.sqrt(d * double) + c * min(d, steps) + steps * epsilon).all())),
        _least(lambda k: bool((squares <= k * largest * np.log(steps) + c**2 * min(k, steps) + 2 * steps * epsilon**2).all())),
    ]


def _agec_with(instance: Instance, factor: float) -> tuple[Estimate, Estimate]:
    from certify.complexity import agec

    errors, steps = _agec_errors(instance), int(instance.params["steps"])
    numbers = agec(errors, steps=steps, epsilon=1e-3)
    return Estimate.numeric([factor * numbers.dominance, factor * numbers.transferability]), Estimate.numeric(_agec_direct(errors, steps, 1e-3))


def _agec_sides(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    """Compare the enumerated numbers with the least ones for which both inequalities hold on every sequence."""
    return _agec_with(instance, 1.0)


def _agec_span(instance: Instance, seed: int) -> tuple[Estimate, Estimate]:
    from certify.complexity import agec

    # One state, rewards (0, 1): the truth, and Q_f = (0, -1), J_f = 1 with E(f) = (1, -1) although the span is 0.
    errors = [[1.0, -1.0], [0.0, 0.0]]
    printed = agec(errors, steps=3, epsilon=1e-3, burn_in=0.0)
    return Estimate.numeric(printed.dominance), Estimate.numeric(agec(errors, steps=3, epsilon=1e-3).dominance)


def _agec_figure(figure: Figure) -> None:
    from certify.complexity import agec

    axes = figure.subplots()
    for points, colour in ((1, GREEN), (2, BLUE), (3, ORANGE)):
        longest = {1: 8, 2: 7, 3: 5}[points]
        horizon = list(range(2, longest + 1))
        numbers = [agec(np.eye(points), steps=t, epsilon=1e-3) for t in horizon]
        axes.plot(horizon, [n.dominance for n in numbers], "o-", color=colour, label=rf"$d_G$, {points} points")
        axes.plot(horizon, [n.transferability for n in numbers], "s--", color=colour, label=rf"$\kappa_G$, {points} points")
    axes.set_xlabel("T")
    axes.set_ylabel("AGEC")
    axes.set_title("AGEC of unit indicators, exact by enumeration")
    axes.legend(fontsize=8, ncols=3)


_G9 = Check(
    guarantee=_STATEMENTS["loop_agec/G9"],
    claim=Claim("==", Slack(absolute=1e-9, relative=1e-9)),
    instances=_agec_instances,
    sides=_agec_sides,
    controls=(
        Control("half of both numbers", lambda instance, seed: _agec_with(instance, 0.5)),
        Control("burn-in of the span instead of the largest error", _agec_span),
    ),
    figure=_agec_figure,
    cost={"quick": 3.0, "full": 3.0},
)

CHECKS = (_G6, _G7, _G8, _G9)
