"""A check: how one guarantee is put to the test, and the broken variants that it must tell apart."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from theory import Guarantee
from verify.types import Claim, Comparison, Estimate, Instance, Verdict

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from matplotlib.figure import Figure

__all__ = ["BUDGETS", "Check", "Control", "Sides", "aggregate", "compare"]

BUDGETS = ("quick", "full")

Sides = Callable[[Instance, int], tuple[Estimate, Estimate]]


@dataclass(frozen=True, slots=True)
class Control:
    """A variant of a check whose verdict is known in advance.

    Parameters
    ----------
    name : str
        What is broken (or, for a refuted guarantee, what corrects it), in a few words.
    sides : callable
        `(instance, seed) -> (left, right)`, as in the check.
    required : Verdict
        The verdict it must get: VIOLATED for a broken variant, HOLDS for the corrected form of a refuted guarantee.
    instances : callable, optional
        `(budget, seed) -> instances`; those of the check when omitted.
    claim : Claim, optional
        That of the check when omitted.
    """

    name: str
    sides: Sides
    required: Verdict = Verdict.VIOLATED
    instances: Callable[[str, int], Iterable[Instance]] | None = None
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """How a guarantee is verified.

    Parameters
    ----------
    guarantee : Guarantee
        What is claimed.
    claim : Claim
        The relation between the sides.
    instances : callable
        `(budget, seed) -> iterable of Instance`; a pure function, budget is "quick" or "full".
    sides : callable
        `(instance, seed) -> (left, right)`; pure, so that it can be replayed and hunted.
    controls : tuple of Control
        One or more broken variants with the verdict each must get.
    figure : callable
        `(figure) -> None` draws on an empty `matplotlib.figure.Figure`.
    expected : Verdict
        HOLDS, or VIOLATED for a refuted guarantee.
    alpha : float
        The failure probability this check may spend, fixed in advance; 0 where nothing is sampled.
    cost : mapping
        Seconds on one core for each budget, compilation included: an upper figure, used to plan and to show progress.
    strategy : callable, optional
        `() -> Hypothesis strategy of Instance`, the space that a hunt searches.
    box : mapping, optional
        Parameter name to (low, high): numeric parameters of the instances that a continuous search may vary.

    Raises
    ------
    ValueError
        If there is no control or none that must be told apart, `alpha` is outside [0, 1), a budget has no cost, or a refuted guarantee is expected to hold.
    """

    guarantee: Guarantee
    claim: Claim
    instances: Callable[[str, int], Iterable[Instance]]
    sides: Sides
    controls: tuple[Control, ...]
    figure: Callable[[Figure], None]
    expected: Verdict = Verdict.HOLDS
    alpha: float = 0.0
    cost: Mapping[str, float] = field(default_factory=lambda: {"quick": 1.0, "full": 10.0})
    strategy: Callable[[], SearchStrategy[Instance]] | None = None
    box: Mapping[str, tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        key = self.guarantee.key
        if not self.controls:
            raise ValueError(f"check of {key} has no control: a check that cannot fail says nothing")
        if not 0.0 <= self.alpha < 1.0 or not math.isfinite(self.alpha):
            raise ValueError(f"alpha of {key} must be in [0, 1), got {self.alpha}")
        if set(self.cost) != set(BUDGETS):
            raise ValueError(f"cost of {key} must name the budgets {', '.join(BUDGETS)}; got {sorted(self.cost)}")
        if (self.guarantee.status == "refuted") != (self.expected is Verdict.VIOLATED):
            raise ValueError(f"check of {key}: expected verdict is {self.expected}, but its status is {self.guarantee.status!r}")
        if not any(control.required is not self.expected for control in self.controls):
            raise ValueError(f"controls of {key} must include one whose verdict differs from {self.expected}, or the check cannot be seen to fail")
        if len({control.name for control in self.controls}) != len(self.controls):
            raise ValueError(f"controls of {key} must have different names")

    @property
    def key(self) -> str:
        """The key of the guarantee."""
        return self.guarantee.key

    @property
    def statement_of_test(self) -> str:
        """The first paragraph of the docstring of `sides`: what is computed."""
        return (inspect.getdoc(self.sides) or "").split("\n\n")[0].replace("\n", " ")


def compare(claim: Claim, sides: Sides, instances: Iterable[Instance], seed_of: Callable[[int], int]) -> list[Comparison]:
    """Compute both sides on every instance; instance number i gets the seed `seed_of(i)`."""
    return [Comparison(instance, *sides(instance, seed_of(index)), claim) for index, instance in enumerate(instances)]


def aggregate(claim: Claim, comparisons: list[Comparison], alpha: float) -> Verdict:
    """Return the verdict over all instances, sampled ones sharing the failure probability `alpha` by Holm's method.

    A rejection of a sampled comparison counts only if Holm's method rejects it at level `alpha`; a sampled comparison counts as
    HOLDS only if it holds with its share `alpha / (number of sampled comparisons)`.  Limits whose level is fixed are paid first, out
    of the same `alpha`.

    Raises
    ------
    ValueError
        If the fixed limits alone fail with more than `alpha`, or nothing is left for sampled sides.
    """
    if not comparisons:
        return Verdict.INCONCLUSIVE
    alpha = shared_alpha(comparisons, alpha)
    sampled = [c for c in comparisons if c.sampled]
    verdicts: list[Any] = [c.verdict for c in comparisons if not c.sampled]
    if sampled:
        verdicts += _shared(sampled, alpha)
    first, last = (Verdict.VIOLATED, Verdict.HOLDS) if claim.quantifier == "all" else (Verdict.HOLDS, Verdict.VIOLATED)
    if first in verdicts:
        return first
    return last if all(v is last for v in verdicts) else Verdict.INCONCLUSIVE


def shared_alpha(comparisons: list[Comparison], alpha: float) -> float:
    """Return what is left of `alpha` for the comparisons that can be moved to another level.

    Raises
    ------
    ValueError
        If the limits of fixed level spend more than `alpha`.
    """
    fixed = math.fsum(c.fixed_failure for c in comparisons)
    if fixed > alpha * (1.0 + 1e-12):
        raise ValueError(f"alpha must cover the failure probability of limits that cannot be moved, {fixed:.6g} in total, got {alpha}")
    return max(alpha - fixed, 0.0)


def _shared(sampled: list[Comparison], alpha: float) -> list[Verdict]:
    if alpha <= 0.0:
        raise ValueError(f"alpha must be positive for a check that samples, got {alpha}")
    at_share = [c.at(alpha / len(sampled)).verdict for c in sampled]
    if Verdict.VIOLATED not in (c.at(alpha).verdict for c in sampled):
        return at_share
    from statsmodels.stats.multitest import multipletests

    rejected = multipletests([c.pvalue for c in sampled], alpha=alpha, method="holm")[0]
    return [
        Verdict.VIOLATED if reject else (share if share is not Verdict.VIOLATED else Verdict.INCONCLUSIVE)
        for reject, share in zip(rejected, at_share, strict=True)
    ]
