"""Finite classes of hypotheses for average-reward learning, with the exact quantities that LOOP and its certificates need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certify._validate import require_finite_array, require_simplex_rows

if TYPE_CHECKING:
    from certify.complexity.eluder import DimensionBracket
    from mdps import TabularMDP

__all__ = ["ROUNDING", "FiniteClass", "model_class", "value_class"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDING = 1e-9
"""Bellman errors below this, relative to the largest value, count as zero; the certificates pay for it."""

KERNEL_ROUNDING = 1e-12
"""Kernels that differ by less in every entry, relative to it, count as the same model."""


@dataclass(frozen=True, eq=False)
class FiniteClass:
    """A finite class H of hypotheses (Q_f, J_f) and its auxiliary class G, beside the true model.

    Parameters
    ----------
    mdp : TabularMDP
        The true model, average reward.
    optimal_gain : float
        J*.
    optimal_bias : array, shape (S,)
        V*.
    action_value : array, shape (H, S, A)
        Q_f.
    gain : array, shape (H,)
        J_f.
    target : array, shape (G, S, A)
        Q_g + J_g of the auxiliary class; its first H members are the hypotheses themselves.
    kernels : array, shape (H, S, A, S), optional
        Transition models behind the hypotheses, for likelihood methods.
    """

    mdp: TabularMDP
    optimal_gain: float
    optimal_bias: FloatArray
    action_value: FloatArray
    gain: FloatArray
    target: FloatArray
    kernels: FloatArray | None = field(default=None, repr=False)

    @property
    def hypotheses(self) -> int:
        """|H|."""
        return len(self.gain)

    @property
    def functions(self) -> int:
        """|G|."""
        return len(self.target)

    @cached_property
    def value(self) -> FloatArray:
        """V_f = max_a Q_f, shape (H, S)."""
        best: FloatArray = self.action_value.max(axis=2)
        return best

    @cached_property
    def policy(self) -> IntArray:
        """A greedy action of each hypothesis, shape (H, S)."""
        return np.asarray(self.action_value.argmax(axis=2), dtype=np.int64)

    @cached_property
    def backup(self) -> FloatArray:
        """(P V_f)(s, a) under the truth, shape (H, S, A)."""
        return np.asarray(np.einsum("sak,fk->fsa", self.mdp.dense(), self.value), dtype=np.float64)

    @cached_property
    def errors(self) -> FloatArray:
        """Bellman errors E(f)(s, a) = Q_f + J_f - r - P V_f, shape (H, S, A); what is rounding noise is set to zero."""
        raw = self.action_value + self.gain[:, None, None] - self.mdp.expected_reward - self.backup
        return np.asarray(np.round(raw / self._unit) * self._unit, dtype=np.float64)

    @property
    def span(self) -> float:
        """B, the largest span of a V_f."""
        return float(np.ptp(self.value, axis=1).max())

    @property
    def optimal_span(self) -> float:
        """sp(V*)."""
        return float(np.ptp(self.optimal_bias))

    @property
    def largest_error(self) -> float:
        """C, the largest |E(f)|."""
        return float(np.abs(self.errors).max())

    @property
    def rounding(self) -> float:
        """Largest distance between the rounded and the exact Bellman errors."""
        return self._unit

    @property
    def truth(self) -> int | None:
        """Index of a hypothesis whose Bellman error vanishes and whose gain is J*; None if the class does not contain the truth."""
        worst = np.abs(self.errors).max(axis=(1, 2)) + np.abs(self.gain - self.optimal_gain)
        index = int(np.argmin(worst))
        return index if worst[index] <= 10.0 * self._unit else None

    @cached_property
    def model_truth(self) -> int | None:
        """Index of a hypothesis whose model is the true one, kernel and rewards; None if there is none or models are not known.

        Likelihood methods need more than a vanishing Bellman error: where V_f is constant, every kernel has that.
        """
        if self.kernels is None:
            return None
        own = self.mdp.dense()
        apart = (np.abs(self.kernels - own) > KERNEL_ROUNDING * own).any(axis=(1, 2, 3))
        worst = np.abs(self.errors).max(axis=(1, 2)) + np.abs(self.gain - self.optimal_gain) + np.where(apart, np.inf, 0.0)
        index = int(np.argmin(worst))
        return index if worst[index] <= 10.0 * self._unit else None

    @cached_property
    def other_rewards(self) -> int | None:
        """Index of a hypothesis whose model has other rewards than the truth; None if there is none or models are not known.

        The reward of a model is Q_f + J_f - P_f V_f.  Transitions say nothing about it, so likelihood methods need it known.
        """
        if self.kernels is None:
            return None
        own = self.action_value + self.gain[:, None, None] - np.einsum("fsak,fk->fsa", self.kernels, self.value)
        apart = np.abs(own - self.mdp.expected_reward).max(axis=(1, 2)) > 10.0 * self._unit
        return int(np.argmax(apart)) if apart.any() else None

    @cached_property
    def completion(self) -> IntArray:
        """Index in G of the backed-up hypothesis P f, with Q + J = r + P V_f, shape (H,); -1 where G does not contain it."""
        found = np.full(self.hypotheses, -1, dtype=np.int64)
        for f in range(self.hypotheses):
            distance = np.abs(self.target - (self.mdp.expected_reward + self.backup[f])).max(axis=(1, 2))
            index = int(np.argmin(distance))
            if distance[index] <= 10.0 * self._unit:
                found[f] = index
        return found

    @cached_property
    def inexactness(self) -> float:
        """Largest amount by which the truth misses its optimality equation, or a member of G the backed-up hypothesis it stands for."""
        if self.truth is None or not self.complete:
            return float("inf")
        backed_up = self.mdp.expected_reward + self.backup
        own = self.action_value[self.truth] + self.gain[self.truth] - backed_up[self.truth]
        return float(max(np.abs(own).max(), np.abs(self.target[self.completion] - backed_up).max()))

    @property
    def realisable(self) -> bool:
        """Whether the class contains the truth."""
        return self.truth is not None

    @property
    def complete(self) -> bool:
        """Whether G contains the backed-up hypothesis of every member of H."""
        return bool((self.completion >= 0).all())

    def dimension(self, epsilon: float, *, method: str = "auto") -> DimensionBracket:
        """Return the average-reward Bellman eluder dimension of the class: the eluder dimension of {E(f)} on states and actions.

        Parameters
        ----------
        epsilon : float
            Scale.
        method : str
            "exact", "bracket", or "auto": exact where it is feasible.

        Returns
        -------
        DimensionBracket
            Points are numbered s * A + a.
        """
        from certify.complexity.eluder import eluder_dimension

        flat = self.errors.reshape(self.hypotheses, -1)
        if method != "auto":
            return eluder_dimension(flat, epsilon, method=method)
        try:
            return eluder_dimension(flat, epsilon)
        except ValueError:
            return eluder_dimension(flat, epsilon, method="bracket")

    @cached_property
    def _unit(self) -> float:
        scale = max(1.0, float(np.abs(self.action_value).max()), float(np.abs(self.optimal_bias).max()))
        return float(2.0 ** np.ceil(np.log2(ROUNDING * scale)))


def value_class(
    mdp: TabularMDP, action_values: ArrayLike, gains: ArrayLike, *, auxiliary: ArrayLike | None = None, kernels: ArrayLike | None = None
) -> FiniteClass:
    """Build a class from action values and gains.

    Parameters
    ----------
    mdp : TabularMDP
        The true model: average reward, weakly communicating, rewards in [-1, 1].
    action_values : array, shape (H, S, A)
        Q_f.
    gains : array, shape (H,)
        J_f.
    auxiliary : array, shape (K, S, A), optional
        Further members of G, given as Q_g + J_g.  When omitted, the backed-up hypotheses r + P V_f are added, which closes the class;
        when given, exactly these are added, and the class may be incomplete.
    kernels : array, shape (H, S, A, S), optional
        Transition models behind the hypotheses.

    Returns
    -------
    FiniteClass
        With J* and V* of the true model.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, a reward lies outside [-1, 1], or the model is multichain.
    """
    from mdps import TabularMDP

    values = require_finite_array("action_values", action_values, ndim=3)
    gain = require_finite_array("gains", gains, ndim=1)
    if not isinstance(mdp, TabularMDP):
        raise ValueError(f"mdp must be a TabularMDP, got {type(mdp).__name__}")
    shape = (mdp.n_states, mdp.n_actions)
    if len(values) == 0 or values.shape[1:] != shape or len(gain) != len(values):
        raise ValueError(f"action_values must have shape (H, {shape[0]}, {shape[1]}) with H >= 1 gains, got {values.shape} and {gain.shape}")
    if mdp.action_mask is not None and not mdp.action_mask.all():
        raise ValueError("mdp must allow every action in every state")
    reward = mdp.expected_reward
    if np.abs(reward).max() > 1.0:
        raise ValueError(f"rewards must be in [-1, 1], got {float(reward.flat[np.abs(reward).argmax()])!r}")
    if kernels is not None:
        kernels = require_finite_array("kernels", kernels, ndim=4)
        if kernels.shape != (len(values), *shape, shape[0]):
            raise ValueError(f"kernels must have shape {(len(values), *shape, shape[0])}, got {kernels.shape}")
        require_simplex_rows("kernels", kernels)
    optimal_gain, bias, _ = average_solution(mdp)
    centred = values - 0.5 * (values.max(axis=2).max(axis=1) + values.max(axis=2).min(axis=1))[:, None, None]
    hypotheses = centred + gain[:, None, None]
    if auxiliary is None:
        added = reward + np.einsum("sak,fk->fsa", mdp.dense(), centred.max(axis=2))
    else:
        added = require_finite_array("auxiliary", auxiliary, ndim=3)
        if added.shape[1:] != shape:
            raise ValueError(f"auxiliary must have shape (K, {shape[0]}, {shape[1]}), got {added.shape}")
    return FiniteClass(mdp, optimal_gain, bias, centred, gain, np.concatenate([hypotheses, added]), kernels)


def model_class(mdp: TabularMDP, models: Sequence[TabularMDP]) -> FiniteClass:
    """Build a class from candidate models: each hypothesis is the solution of its own optimality equation.

    Parameters
    ----------
    mdp : TabularMDP
        The true model.
    models : sequence of TabularMDP
        Candidates with the same states and actions.

    Returns
    -------
    FiniteClass
        Closed under completeness, with the kernels for likelihood methods.

    Raises
    ------
    ValueError
        If there is no candidate, sizes disagree, or a model is multichain.
    """
    if not models:
        raise ValueError("models must have at least one candidate, got none")
    for index, model in enumerate(models):
        if (model.n_states, model.n_actions) != (mdp.n_states, mdp.n_actions):
            raise ValueError(
                f"models[{index}] must have {mdp.n_states} states and {mdp.n_actions} actions, got {model.n_states} and {model.n_actions}"
            )
    solved = [average_solution(model) for model in models]
    kernels = np.stack([model.dense() for model in models])
    return value_class(mdp, np.stack([q for _, _, q in solved]), np.array([gain for gain, _, _ in solved]), kernels=kernels)


def average_solution(mdp: TabularMDP) -> tuple[float, FloatArray, FloatArray]:
    """Return (J*, V*, Q*) of a model, V* centred so that its largest and smallest value are opposite."""
    import mdps

    solution = mdps.solve(mdp, criterion="average", tolerance=1e-10)
    assert solution.gain is not None
    assert solution.bias is not None
    bias = solution.bias - 0.5 * (solution.bias.max() + solution.bias.min())
    q = mdp.expected_reward + mdp.dense() @ bias - solution.gain
    return float(solution.gain), bias, q
