"""Strategies for what goes with a model: policies, trajectories, hypothesis classes; and for diffusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from verify._validate import require_choice, require_int
from verify.strategies._draws import Draw, draw_codes, draw_rewards, draw_weights, normalised, pick, reward_levels
from verify.strategies.models import tabular_mdps

if TYPE_CHECKING:
    from certify.complexity.classes import FiniteClass
    from certify.robust.datasets import OfflineDataset
    from mdps import FiniteHorizonMDP, LinearMDP, TabularMDP

__all__ = ["datasets", "diffusions", "hypothesis_classes", "policies"]


def policies(
    mdp: TabularMDP | FiniteHorizonMDP | LinearMDP, *, kind: str = "any", staged: bool = False
) -> st.SearchStrategy[NDArray[Any]]:
    """Return policies of a model, respecting its action mask.

    Parameters
    ----------
    mdp : TabularMDP, FiniteHorizonMDP or LinearMDP
        The model.
    kind : str
        "deterministic" (integers (S,)), "stochastic" (distributions (S, A)) or "any".
    staged : bool
        One policy for each stage of a finite horizon, shape (H, S) or (H, S, A).

    Returns
    -------
    SearchStrategy
        Of arrays.

    Raises
    ------
    ValueError
        If `kind` is unknown, or `staged` is asked of a model without horizon.
    """
    require_choice("kind", kind, ("any", "deterministic", "stochastic"))
    horizon = getattr(mdp, "horizon", None)
    if staged and horizon is None:
        raise ValueError("staged must be False for a model without horizon, got True")
    S, A = mdp.n_states, mdp.n_actions
    shape: tuple[int, ...] = (horizon, S) if staged and horizon is not None else (S,)
    mask = getattr(mdp, "action_mask", None)
    allowed = np.ones((S, A), dtype=bool) if mask is None else mask

    @st.composite
    def build(draw: Draw) -> NDArray[Any]:
        if kind == "deterministic" or (kind == "any" and not draw(st.booleans())):
            rank = draw_codes(draw, shape) % allowed.sum(axis=1)
            # the rank-th allowed action of each state
            order = np.argsort(~allowed, axis=1, kind="stable")
            return np.asarray(order[np.arange(S), rank])
        weights = draw_weights(draw, (*shape, A)) * allowed
        return normalised(weights, np.eye(A)[allowed.argmax(axis=1)])

    return build()


def datasets(mdp: FiniteHorizonMDP | LinearMDP, *, max_trajectories: int = 8) -> st.SearchStrategy[OfflineDataset]:
    """Return trajectories that a model can produce.

    Parameters
    ----------
    mdp : FiniteHorizonMDP or LinearMDP
        The model; the first states are those its initial distribution allows.
    max_trajectories : int
        Largest number of trajectories.

    Returns
    -------
    SearchStrategy
        Of `certify.robust.datasets.OfflineDataset`.

    Raises
    ------
    ValueError
        If `max_trajectories` is below 1.
    """
    require_int("max_trajectories", max_trajectories, minimum=1)
    model: Any = mdp.tabular() if hasattr(mdp, "tabular") else mdp
    H = model.horizon
    supports = [model.stage(h).dense() > 0 for h in range(H)]
    first = np.ones(model.n_states, dtype=bool) if model.initial is None else model.initial > 0
    mask = getattr(model, "action_mask", None)

    @st.composite
    def build(draw: Draw) -> OfflineDataset:
        from certify.robust.datasets import offline_dataset

        K = draw(st.integers(1, max_trajectories))
        codes = draw_codes(draw, (K, 2 * H + 1), (max_trajectories, 2 * H + 1))
        states, actions = np.zeros((K, H + 1), dtype=np.int64), np.zeros((K, H), dtype=np.int64)
        for k in range(K):
            states[k, 0] = pick(first, codes[k, 0])
            for h in range(H):
                s = states[k, h]
                actions[k, h] = pick(np.ones(model.n_actions, dtype=bool) if mask is None else mask[s], codes[k, 2 * h + 1])
                states[k, h + 1] = pick(supports[h][s, actions[k, h]], codes[k, 2 * h + 2])
        return offline_dataset(states, actions)

    return build()


def hypothesis_classes(
    *, max_states: int = 3, max_actions: int = 2, max_hypotheses: int = 4, realizable: bool = True
) -> st.SearchStrategy[FiniteClass]:
    """Return finite classes of average-reward hypotheses (Q_f, J_f) beside a communicating truth with rewards in [0, 1].

    Parameters
    ----------
    max_states, max_actions, max_hypotheses : int
        Largest sizes.
    realizable : bool
        Make the truth the first hypothesis.

    Returns
    -------
    SearchStrategy
        Of `certify.complexity.FiniteClass`; its auxiliary class is the class itself with every backup added.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    require_int("max_hypotheses", max_hypotheses, minimum=1)
    truths = tabular_mdps(max_states=max_states, max_actions=max_actions, discount=None, communicating=True)
    levels = reward_levels((-1.0, 1.0))

    @st.composite
    def build(draw: Draw) -> FiniteClass:
        from certify.complexity.classes import average_solution, value_class

        truth = draw(truths)
        n = draw(st.integers(1, max_hypotheses))
        q = draw_rewards(draw, (n, truth.n_states, truth.n_actions), levels)
        gains = np.abs(draw_rewards(draw, (n,), levels))
        if realizable:
            gains[0], _, q[0] = average_solution(truth)
        return value_class(truth, q, gains)

    return build()


def diffusions(*, kinds: Sequence[str] = ("brownian", "ornstein-uhlenbeck", "linear-quadratic", "black-scholes")) -> st.SearchStrategy[Any]:
    """Return diffusions whose value functions are known.

    Parameters
    ----------
    kinds : sequence of str
        Which of "brownian", "ornstein-uhlenbeck", "linear-quadratic" and "black-scholes".

    Returns
    -------
    SearchStrategy
        Of the models of `mdps.diffusions`.

    Raises
    ------
    ValueError
        If a kind is unknown or none is given.
    """
    if not kinds:
        raise ValueError("kinds must name at least one diffusion, got none")
    for kind in kinds:
        require_choice("kinds", kind, ("brownian", "ornstein-uhlenbeck", "linear-quadratic", "black-scholes"))
    eighths = st.integers(1, 16).map(lambda k: k / 8)
    small = st.integers(-2, 2)

    @st.composite
    def build(draw: Draw) -> Any:
        from mdps.diffusions import BlackScholes, BrownianMotion, LinearQuadratic, OrnsteinUhlenbeck, Polynomial

        kind = draw(st.sampled_from(tuple(kinds)))
        if kind == "black-scholes":
            return BlackScholes(volatility=draw(eighths), rate=draw(st.integers(0, 4)) / 8, strike=draw(eighths), start=draw(eighths))
        if kind == "linear-quadratic":
            d = draw(st.integers(1, 2))
            drift = np.diag([-draw(eighths) for _ in range(d)])
            return LinearQuadratic(drift, np.eye(d) * draw(eighths), np.eye(d) * draw(small), discount=draw(eighths))
        terms = {(0, degree): draw(small) for degree in range(3)}
        if kind == "brownian":
            return BrownianMotion(
                reward=Polynomial(terms), terminal=Polynomial({(0, 2): draw(small)}), horizon=draw(st.integers(1, 2)), volatility=draw(eighths)
            )
        return OrnsteinUhlenbeck(kappa=draw(eighths), sigma=draw(eighths), discount=draw(eighths), reward=Polynomial(terms), start=draw(small))

    return build()
