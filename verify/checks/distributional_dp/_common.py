"""Small helpers of the checks: making a `Check`, seeds of instances, strategies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from theory import distributional_dp as paper
from verify.check import Check, Control, Sides
from verify.types import Claim, Instance, Verdict

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from matplotlib.figure import Figure

_GUARANTEES = {g.key.split("/")[1]: g for g in paper.GUARANTEES}


def check(
    number: str,
    claim: Claim,
    instances: Callable[[str, int], Iterable[Instance]],
    sides: Sides,
    controls: Sequence[Control],
    figure: Callable[[Figure], None],
    *,
    quick: float = 1.0,
    full: float | None = None,
    strategy: Callable[[], SearchStrategy[Instance]] | None = None,
    box: Mapping[str, tuple[float, float]] | None = None,
) -> Check:
    """Return the check of one guarantee of this paper; refuted ones are expected to be violated."""
    guarantee = _GUARANTEES[number]
    expected = Verdict.VIOLATED if guarantee.status == "refuted" else Verdict.HOLDS
    cost = {"quick": quick, "full": full if full is not None else 10.0 * quick}
    return Check(guarantee, claim, instances, sides, tuple(controls), figure, expected=expected, cost=cost, strategy=strategy, box=box)


def count(budget: str, quick: int, full: int) -> int:
    """Return how many instances a budget allows."""
    return quick if budget == "quick" else full


def seeds(seed: int, n: int) -> list[int]:
    """Return n seeds of models."""
    return [int(x) for x in np.random.Generator(np.random.Philox(seed % 2**63)).integers(0, 2**31 - 1, n)]


def seeds_strategy(fixed: Mapping[str, Any], **ranges: tuple[float, float]) -> Callable[[], SearchStrategy[Instance]]:
    """Return a strategy of instances with a random seed, fixed parameters, and floats from ranges."""

    def build() -> SearchStrategy[Instance]:
        from hypothesis import strategies as st

        fields = {name: st.floats(low, high) for name, (low, high) in ranges.items()}
        parameters = st.fixed_dictionaries({**{k: st.just(v) for k, v in fixed.items()}, "seed": st.integers(0, 2**31 - 1), **fields})
        return st.builds(Instance, st.just("drawn"), parameters)

    return build
