"""For property-based tests: assert that a guarantee holds on an instance."""

from __future__ import annotations

from typing import Any

from theory import Guarantee
from verify.check import Check
from verify.registry import check_of
from verify.runner import check_seed
from verify.types import Comparison, Instance, Verdict

__all__ = ["assert_holds", "evaluate"]


def _check(target: Guarantee | Check | str) -> Check:
    if isinstance(target, Check):
        return target
    return check_of(target.key if isinstance(target, Guarantee) else target)


def evaluate(target: Guarantee | Check | str, instance: Instance | dict[str, Any], *, seed: int = 0) -> Comparison:
    """Compute both sides of a guarantee on one instance.

    Parameters
    ----------
    target : Guarantee, Check or str
        What to evaluate; a guarantee or key stands for its check.
    instance : Instance or dict
        The instance, or its parameters.
    seed : int
        Seed of the sides.

    Returns
    -------
    Comparison
        Sampled sides at the level of the check.

    Raises
    ------
    ValueError
        If the key is unknown.
    """
    check = _check(target)
    point = instance if isinstance(instance, Instance) else Instance("given", instance)
    comparison = Comparison(point, *check.sides(point, check_seed(seed, check.key, 0)), check.claim)
    return comparison.at(check.alpha) if comparison.sampled else comparison


def assert_holds(target: Guarantee | Check | str, instance: Instance | dict[str, Any], *, seed: int = 0) -> None:
    """Fail unless the guarantee is seen to hold on the instance (for a refuted one: unless it is seen to be violated).

    Parameters
    ----------
    target : Guarantee, Check or str
        What must hold.
    instance : Instance or dict
        The instance, or its parameters.
    seed : int
        Seed of the sides.

    Raises
    ------
    AssertionError
        If the verdict is not the expected one; the message shows both sides.  An inconclusive sampled comparison does not raise.
    ValueError
        If the key is unknown.
    """
    check = _check(target)
    comparison = evaluate(check, instance, seed=seed)
    wrong = {Verdict.HOLDS: Verdict.VIOLATED, Verdict.VIOLATED: Verdict.HOLDS}[check.expected]
    undecided = comparison.verdict is Verdict.INCONCLUSIVE and not comparison.sampled
    if comparison.verdict is wrong or undecided:
        raise AssertionError(
            f"{check.key} {comparison.verdict} on {comparison.instance.name}: left {comparison.left.value}, "
            f"right {comparison.right.value}, claim left {check.claim.relation} right; parameters {dict(comparison.instance.params)}"
        )
