"""Searching a check's instance space for its tightest instance or for a counterexample.

Three searches take turns on the time given: the check's own instances, Hypothesis (targeted at the ratio of the two sides) where the
check has a strategy, and differential evolution on the numeric parameters of the best instance where it has a box.  A violation
that rests on sampling counts only when it is confirmed on fresh seeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from verify.check import Check
from verify.records import write_atomically
from verify.runner import check_seed
from verify.types import Comparison, Instance, Verdict

__all__ = ["Find", "hunt", "load_instance", "ratio_of", "save_instance"]

FRESH_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Find:
    """The best instance of a hunt.

    `ratio` is achieved/bound for inequalities (above 1: violated), and the distance between the sides for identities;
    `confirmed` says that a violation was seen again on fresh seeds, or is exact.
    """

    instance: Instance
    comparison: Comparison
    ratio: float
    verdict: Verdict
    evaluations: int
    confirmed: bool


def ratio_of(comparison: Comparison) -> float:
    """Return how near the sides come to a violation: larger is nearer, above 1 (or above the slack for identities) is beyond.

    Inequalities with positive bounds give achieved/bound; others one plus the relative excess, so that 1 is always the boundary.
    """
    claim = comparison.claim
    left, right = (np.asarray(side.value, dtype=np.float64) for side in (comparison.left, comparison.right))
    if claim.relation == "==":
        return float(np.max(np.abs(left - right)))
    if claim.relation == "within":
        low, high = (np.asarray(x, dtype=np.float64) for x in (comparison.right.lower, comparison.right.upper))
        return float(np.max(np.abs(left - 0.5 * (low + high)) / (0.5 * (high - low))))
    small, big = (left, right) if claim.relation == "<=" else (right, left)
    small, big = np.broadcast_arrays(small, big)
    scale = np.maximum(np.maximum(np.abs(small), np.abs(big)), 1e-300)
    positive = (big > 0) & (small >= 0)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.where(positive, small / np.where(positive, big, 1.0), 1.0 + (small - big) / scale)
    return float(np.max(ratio))


@dataclass
class _Search:
    """The state of a hunt: the best comparison so far and how many instances were tried."""

    check: Check
    seed: int
    deadline: float
    progress: Callable[[str], None] | None
    best: Comparison | None = None
    ratio: float = -np.inf
    evaluations: int = 0
    violated: bool = False
    errors: list[str] = field(default_factory=list)

    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def finished(self) -> bool:
        return self.violated or self.out_of_time()

    def try_instance(self, instance: Instance) -> float:
        """Evaluate one instance, keep it if it is the best, and return its ratio."""
        self.evaluations += 1
        left, right = self.check.sides(instance, check_seed(self.seed, self.check.key, self.evaluations, control=-1))
        comparison = Comparison(instance, left, right, self.check.claim)
        if comparison.sampled:
            comparison = comparison.at(max(self.check.alpha, 1e-12))
        ratio = ratio_of(comparison)
        beaten = comparison.verdict is Verdict.VIOLATED
        if ratio > self.ratio or (beaten and not self.violated):
            self.best, self.ratio = comparison, ratio
            if self.progress:
                self.progress(f"{self.check.key}: ratio {ratio:.6g} after {self.evaluations} instances ({instance.name})")
        self.violated = self.violated or (beaten and self._again(instance, left.relimit is None and right.relimit is None))
        return ratio

    def _again(self, instance: Instance, exact: bool) -> bool:
        """Whether a violation stands: exact ones do, sampled ones must be seen on fresh seeds too."""
        if exact:
            return True
        for number in range(FRESH_SEEDS):
            left, right = self.check.sides(instance, check_seed(self.seed, self.check.key, number, control=-2))
            if Comparison(instance, left, right, self.check.claim).at(self.check.alpha / FRESH_SEEDS).verdict is not Verdict.VIOLATED:
                return False
        return True


def hunt(check: Check, *, seconds: float = 60.0, seed: int = 0, progress: Callable[[str], None] | None = None) -> Find:
    """Search for the tightest instance of a check or for a violation; stops at the first confirmed violation.

    Parameters
    ----------
    check : Check
        Whose instance space to search.
    seconds : float
        Time to spend; one evaluation may overrun it.
    seed : int
        Seed of the search and of the sides.
    progress : callable, optional
        Called with a line of text when the best ratio improves.

    Returns
    -------
    Find

    Raises
    ------
    ValueError
        If `seconds` is not positive or the check has no instance at all.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    search = _Search(check, seed, time.monotonic() + seconds, progress)
    for instance in check.instances("quick", check_seed(seed, check.key, 0, control=-3)):
        search.try_instance(instance)
        if search.finished():
            break
    if check.strategy is not None and not search.finished():
        _by_hypothesis(search, seconds * (0.5 if check.box else 1.0))
    if check.box and not search.finished():
        _by_evolution(search)
    if search.best is None:
        raise ValueError(f"check of {check.key} has no instance to begin with")
    verdict = search.best.verdict
    if verdict is Verdict.VIOLATED and not search.violated:
        verdict = Verdict.INCONCLUSIVE
    return Find(search.best.instance, search.best, search.ratio, verdict, search.evaluations, search.violated)


class _Stop(Exception):
    """Ends a Hypothesis run from inside a test."""


def _by_hypothesis(search: _Search, seconds: float) -> None:
    from hypothesis import HealthCheck, Phase, given, settings, target
    from hypothesis import seed as fixed_seed

    assert search.check.strategy is not None
    until = min(search.deadline, time.monotonic() + seconds)
    round_number = 0
    while time.monotonic() < until and not search.violated:
        round_number += 1

        @fixed_seed(check_seed(search.seed, search.check.key, round_number, control=-4))
        @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate, Phase.target], suppress_health_check=list(HealthCheck))
        @given(search.check.strategy())
        def one(instance: Instance) -> None:
            if search.violated or time.monotonic() > until:
                raise _Stop
            ratio = search.try_instance(instance)
            if np.isfinite(ratio):
                target(ratio)

        try:
            one()
        except _Stop:
            return


def _by_evolution(search: _Search) -> None:
    from scipy.optimize import differential_evolution

    assert search.check.box is not None
    if search.best is None:
        return
    base = search.best.instance
    names = [name for name in search.check.box if name in base.params]
    if not names:
        return

    def objective(point: Any) -> float:
        if search.finished():
            raise _Stop
        params = {**base.params, **{name: type(base.params[name])(value) for name, value in zip(names, point, strict=True)}}
        return -search.try_instance(Instance(f"{base.name}, varied", params))

    try:
        differential_evolution(objective, [search.check.box[name] for name in names], rng=np.random.default_rng(search.seed), maxiter=10_000, tol=0.0)
    except _Stop:
        return


def save_instance(path: str | Path, key: str, instance: Instance) -> None:
    """Write an instance to a file that `lemmata check KEY --instance FILE` replays."""
    write_atomically(path, json.dumps({"lemmata-instance": 1, "key": key, **instance.to_json()}, indent=1, sort_keys=True) + "\n")


def load_instance(path: str | Path) -> tuple[str, Instance]:
    """Read an instance file.

    Returns
    -------
    tuple
        The key of the guarantee and the instance.

    Raises
    ------
    ValueError
        If the file is not an instance file.
    OSError
        If it cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"instance must be an instance file, got {path}: {error}") from None
    if not isinstance(data, Mapping) or data.get("lemmata-instance") != 1 or not isinstance(data.get("params"), Mapping) or "key" not in data:
        raise ValueError(f"instance must be an instance file of format 1 with the entries key, name and params; {path} is not")
    return str(data["key"]), Instance(str(data.get("name", "replayed")), dict(data["params"]))
