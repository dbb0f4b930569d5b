"""Strategies for models: tabular, finite horizon, linear and mixtures of known kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from verify.strategies._draws import Draw, draw_rewards, draw_states, draw_weights, mask_of, normalised, reward_levels, sizes

if TYPE_CHECKING:
    from mdps import FiniteHorizonMDP, LinearMDP, TabularMDP

__all__ = ["LinearMixture", "discounts", "finite_horizon_mdps", "linear_mdps", "linear_mixtures", "tabular_mdps"]

FloatArray = NDArray[np.float64]

SIMPLE_DISCOUNTS = (0.5, 0.9, 0.99, 0.1)
"""From the simplest one on; what models draw unless told otherwise."""

DRAWN = st.sampled_from(SIMPLE_DISCOUNTS)


@dataclass(frozen=True, slots=True)
class LinearMixture:
    """A model whose kernel is a mixture of known kernels: P(s'|s,a) = sum_i theta_i phi_i(s'|s,a).

    Attributes
    ----------
    features : array (S, A, S, d)
        phi, a distribution over successors for each coordinate.
    theta : array (d,)
        The unknown weights, on the simplex.
    mdp : TabularMDP
        The mixture.
    """

    features: FloatArray
    theta: FloatArray
    mdp: TabularMDP


def discounts(*, largest: float = 0.99) -> st.SearchStrategy[float]:
    """Return discounts in (0, `largest`], 0.5 being the simplest.

    Parameters
    ----------
    largest : float
        In (0, 1].

    Returns
    -------
    SearchStrategy
        Of floats.

    Raises
    ------
    ValueError
        If `largest` is not in (0, 1].
    """
    if not 0.0 < largest <= 1.0:
        raise ValueError(f"largest must be in (0, 1], got {largest!r}")
    simple = [d for d in SIMPLE_DISCOUNTS if d <= largest] or [largest]
    return st.sampled_from(simple) | st.floats(min(1e-3, largest), largest)


def tabular_mdps(
    *,
    max_states: int = 5,
    max_actions: int = 3,
    min_states: int = 1,
    min_actions: int = 1,
    discount: float | st.SearchStrategy[float] | None = DRAWN,
    rewards: tuple[float, float] = (0.0, 1.0),
    communicating: bool = False,
    masked: bool = False,
    initial: bool = False,
    sparse: bool = False,
) -> st.SearchStrategy[TabularMDP]:
    """Return models of at most the given size.

    Parameters
    ----------
    max_states, max_actions, min_states, min_actions : int
        Range of the sizes.
    discount : float, strategy or None
        The discount, drawn from a few simple ones by default; None for average-reward models.
    rewards : tuple of float
        Smallest and largest reward; nine values between them and, if it lies between, zero.
    communicating : bool
        Let action 0 of every state reach the next state, so that every state can reach every other one.
    masked : bool
        Forbid some actions, never all of a state.
    initial : bool
        Draw a distribution of the first state too.
    sparse : bool
        Hand the kernel over as a sparse matrix.

    Returns
    -------
    SearchStrategy
        Of `TabularMDP`; the simplest example is one absorbing state without reward.

    Raises
    ------
    ValueError
        If the sizes or the rewards do not form a range.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(tabular_mdps(max_states=3, discount=0.9))
    ... def test(mdp):
    ...     assert mdp.n_states <= 3
    >>> test()
    """
    sizes(states=(min_states, max_states))
    sizes(actions=(min_actions, max_actions))
    counts = st.integers(min_actions, max_actions)
    levels = reward_levels(rewards)
    drawn = discount if isinstance(discount, st.SearchStrategy) else st.just(discount)

    @st.composite
    def build(draw: Draw) -> TabularMDP:
        from mdps import TabularMDP

        # the states come last, so that dropping one leaves nothing behind it
        A, gamma = draw(counts), draw(drawn)
        states = draw_states(draw, (min_states, max_states), (A, max_actions), communicating=communicating)
        S = len(states.kernel)
        reward = levels[states.reward_codes % levels.size]
        mask = mask_of(states.mask_codes, communicating) if masked else None
        first = normalised(states.first, np.eye(S)[0]) if initial else None
        handed: Any = states.kernel
        if sparse:
            from scipy.sparse import csr_array

            handed = csr_array(states.kernel.reshape(S * A, S))
        return TabularMDP(handed, reward, discount=gamma, action_mask=mask, initial=first)

    return build()


def finite_horizon_mdps(
    *,
    max_states: int = 4,
    max_actions: int = 3,
    max_horizon: int = 4,
    rewards: tuple[float, float] = (0.0, 1.0),
    stationary: bool | None = None,
    initial: bool = False,
) -> st.SearchStrategy[FiniteHorizonMDP]:
    """Return finite-horizon models.

    Parameters
    ----------
    max_states, max_actions, max_horizon : int
        Largest sizes.
    rewards : tuple of float
        Smallest and largest reward.
    stationary : bool, optional
        One kernel for all stages, or one for each; drawn by default.
    initial : bool
        Draw a distribution of the first state too.

    Returns
    -------
    SearchStrategy
        Of `FiniteHorizonMDP`.

    Raises
    ------
    ValueError
        If a size is below 1 or the rewards do not form a range.
    """
    sizes(states=(1, max_states))
    ranges = sizes(actions=(1, max_actions), horizon=(1, max_horizon))
    levels = reward_levels(rewards)
    shared = st.booleans() if stationary is None else st.just(not stationary)

    @st.composite
    def build(draw: Draw) -> FiniteHorizonMDP:
        from mdps import FiniteHorizonMDP

        A, H = draw(ranges)
        staged = draw(shared)
        states = draw_states(draw, (1, max_states), (A, max_actions), groups=max_horizon)
        S = len(states.kernel)
        kernel = np.moveaxis(states.kernel.reshape(S, max_horizon, A, S), 1, 0)
        reward = np.moveaxis(levels[states.reward_codes % levels.size].reshape(S, max_horizon, A), 1, 0)
        first = normalised(states.first, np.eye(S)[0]) if initial else None
        if staged:
            return FiniteHorizonMDP(kernel[:H], reward[:H], horizon=H, initial=first)
        return FiniteHorizonMDP(kernel[0], reward[0], horizon=H, initial=first)

    return build()


def linear_mdps(*, max_states: int = 4, max_actions: int = 3, max_dimension: int = 3, max_horizon: int = 3) -> st.SearchStrategy[LinearMDP]:
    """Return linear models with features on the simplex, factors that are distributions and reward weights in [0, 1].

    Parameters
    ----------
    max_states, max_actions, max_dimension, max_horizon : int
        Largest sizes.

    Returns
    -------
    SearchStrategy
        Of `LinearMDP`.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    ranges = sizes(states=(1, max_states), actions=(1, max_actions), dimension=(1, max_dimension), horizon=(1, max_horizon))
    levels = reward_levels((0.0, 1.0))

    @st.composite
    def build(draw: Draw) -> LinearMDP:
        from mdps import LinearMDP

        S, A, d, H = draw(ranges)
        features = normalised(draw_weights(draw, (S, A, d), (max_states, max_actions, max_dimension)), np.eye(d)[0])
        factors = normalised(draw_weights(draw, (H, d, S), (max_horizon, max_dimension, max_states)), np.eye(S)[0])
        return LinearMDP(features, factors, draw_rewards(draw, (H, d), levels, (max_horizon, max_dimension)), horizon=H)

    return build()


def linear_mixtures(
    *, max_states: int = 3, max_actions: int = 2, max_dimension: int = 3, discount: float | None = 0.9
) -> st.SearchStrategy[LinearMixture]:
    """Return mixtures of known kernels with weights on the simplex.

    Parameters
    ----------
    max_states, max_actions, max_dimension : int
        Largest sizes.
    discount : float or None
        Discount of the mixture.

    Returns
    -------
    SearchStrategy
        Of `LinearMixture`.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    sizes(states=(1, max_states))
    ranges = sizes(actions=(1, max_actions), dimension=(1, max_dimension))
    levels = reward_levels((0.0, 1.0))

    @st.composite
    def build(draw: Draw) -> LinearMixture:
        from mdps import TabularMDP

        A, d = draw(ranges)
        theta = normalised(draw_weights(draw, (d,), (max_dimension,)), np.eye(d)[0])
        states = draw_states(draw, (1, max_states), (A, max_actions), groups=max_dimension)
        S = len(states.kernel)
        features = np.moveaxis(states.kernel.reshape(S, max_dimension, A, S)[:, :d], 1, -1)
        reward = levels[states.reward_codes % levels.size].reshape(S, max_dimension, A)[:, 0]
        return LinearMixture(features, theta, TabularMDP(features @ theta, reward, discount=discount))

    return build()
