"""Running checks: seeds, verdicts, controls, parallel workers, and the record that lets an interrupted run continue.

Every check draws from its own stream, keyed by the seed and the key of its guarantee, so that its result depends neither on the
other checks nor on the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from verify._validate import require_choice, require_int, require_seed
from verify.check import BUDGETS, Check, aggregate, compare, shared_alpha
from verify.records import Record, open_record, result_from_json, result_to_json
from verify.registry import checks, select
from verify.types import Comparison, Instance, Verdict

if TYPE_CHECKING:
    import pandas

__all__ = ["ControlResult", "Result", "Run", "check_seed", "run", "run_check"]

Progress = Callable[[str, "Result | None"], None]


@dataclass(frozen=True, slots=True)
class ControlResult:
    """The verdict on a control and the one it had to get."""

    verdict: Verdict
    required: Verdict

    @property
    def passed(self) -> bool:
        """Whether the control got the verdict required of it."""
        return self.verdict is self.required

    def __iter__(self) -> Iterator[Any]:
        """Unpack as (verdict, passed)."""
        return iter((self.verdict, self.passed))


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found.

    `verdict` is POWERLESS when a control did not get its required verdict; `claim_verdict` is the verdict on the claim alone.
    `comparisons` holds both sides on every instance, sampled ones at their share of the error probability.
    """

    key: str
    verdict: Verdict
    expected: Verdict
    claim_verdict: Verdict
    controls: Mapping[str, ControlResult]
    tightness: float | None
    sensitivity: float | None
    instances: int
    alpha: float
    seconds: float
    comparisons: tuple[Comparison, ...] = field(repr=False)
    error: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether the check ended with the verdict its guarantee is known to deserve, and with power."""
        return self.verdict is self.expected and not self.error

    def worst(self) -> Comparison | None:
        """Return the comparison nearest to the bound (the first violated one if there is any), or None without instances."""
        if not self.comparisons:
            return None
        violated = [c for c in self.comparisons if c.verdict is Verdict.VIOLATED]
        return violated[0] if violated else max(self.comparisons, key=lambda c: c.tightness or 0.0)


@dataclass(frozen=True, slots=True)
class Run:
    """The results of a run and where they came from."""

    results: Mapping[str, Result]
    budget: str
    seed: int
    seconds: float

    @property
    def failure_spent(self) -> float:
        """Sum of the failure probabilities of the checks that sampled: the chance that any of their verdicts is wrong is below it."""
        return float(sum(result.alpha for result in self.results.values()))

    @property
    def exit_status(self) -> int:
        """0: every verdict as expected; 1: one is not, or is powerless; 3: the unexpected ones are all inconclusive."""
        odd = [r for r in self.results.values() if not r.as_expected]
        if not odd:
            return 0
        return 3 if all(r.verdict is Verdict.INCONCLUSIVE and not r.error for r in odd) else 1

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the timings; equal seeds give equal digests whatever the number of workers."""
        text = json.dumps([result_to_json(r, with_seconds=False) for r in self.results.values()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def rows(self) -> list[dict[str, Any]]:
        """Return one plain dictionary for each check."""
        return [
            {
                "key": r.key, "verdict": str(r.verdict), "expected": str(r.expected), "as_expected": r.as_expected,
                "tightness": r.tightness, "sensitivity": r.sensitivity, "instances": r.instances, "alpha": r.alpha,
                "controls": "; ".join(f"{name}: {c.verdict}" for name, c in r.controls.items()), "seconds": round(r.seconds, 3), "error": r.error,
            }
            for r in self.results.values()
        ]

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the results as a `pandas.DataFrame`, one row a check."""
        import pandas

        return pandas.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        return str(self.to_dataframe().to_html(index=False))


def _stream(seed: int, key: str, *path: int) -> int:
    """Return a seed in [0, 2^63) that depends on the run's seed, a key and a path of numbers, all of them hashed with their length."""
    text = json.dumps([seed, key, *path])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def check_seed(seed: int, key: str, index: int, *, control: int = 0) -> int:
    """Return the seed of instance number `index` of a check (control 0) or of its control number `control`."""
    return _stream(seed, key, 1, control, index)


def _settled(comparisons: list[Comparison], alpha: float) -> tuple[Comparison, ...]:
    """Move sampled comparisons to their share of alpha and drop what cannot be written down."""
    sampled = sum(c.sampled for c in comparisons)
    share = shared_alpha(comparisons, alpha) / sampled if sampled else 0.0
    moved = [c.at(share) if c.sampled else c for c in comparisons]
    return tuple(replace(c, left=replace(c.left, relimit=None), right=replace(c.right, relimit=None)) for c in moved)


def run_check(check: Check, *, budget: str = "quick", seed: int | np.random.SeedSequence = 0, instances: Iterable[Instance] | None = None) -> Result:
    """Run one check and its controls.

    Parameters
    ----------
    check : Check
        What to run.
    budget : str
        "quick" or "full".
    seed : int or numpy.random.SeedSequence
        Seed of the run, not negative.
    instances : iterable of Instance, optional
        Replaces the check's own instances, for a replay; controls keep theirs.

    Returns
    -------
    Result
        An exception inside the check is reported in `error`, with verdict INCONCLUSIVE.

    Raises
    ------
    ValueError
        If the budget or seed is invalid.
    """
    require_choice("budget", budget, BUDGETS)
    seed = require_seed("seed", seed)
    start = time.perf_counter()
    source = _stream(seed, check.key, 0)
    controls: dict[str, ControlResult] = {}
    comparisons: list[Comparison] = []
    settled: tuple[Comparison, ...] = ()
    verdict, error = Verdict.INCONCLUSIVE, ""
    try:
        points = list(check.instances(budget, source) if instances is None else instances)
        comparisons = compare(check.claim, check.sides, points, lambda index: check_seed(seed, check.key, index))
        verdict = aggregate(check.claim, comparisons, check.alpha)
        settled = _settled(comparisons, check.alpha)
        for number, control in enumerate(check.controls, 1):
            claim = control.claim or check.claim
            broken = list((control.instances or check.instances)(budget, source))
            found = compare(claim, control.sides, broken, lambda index, number=number: check_seed(seed, check.key, index, control=number))  # type: ignore[misc]
            controls[control.name] = ControlResult(aggregate(claim, found, check.alpha), control.required)
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}\n{traceback.format_exc(limit=-3)}"
        verdict = Verdict.INCONCLUSIVE
    powerless = not error and not all(c.passed for c in controls.values())
    ratios = [c.tightness for c in comparisons if c.tightness is not None]
    return Result(
        key=check.key,
        verdict=Verdict.POWERLESS if powerless else verdict,
        expected=check.expected,
        claim_verdict=verdict,
        controls=MappingProxyType(controls),
        tightness=max(ratios) if ratios else None,
        sensitivity=_sensitivity(comparisons),
        instances=len(comparisons),
        alpha=check.alpha if any(c.sampled or c.fixed_failure > 0.0 for c in comparisons) else 0.0,
        seconds=time.perf_counter() - start,
        comparisons=settled,
        error=error,
    )


def _sensitivity(comparisons: list[Comparison]) -> float | None:
    """Return the scaling of the bound nearest to 1 that some instance still rejects."""
    factors = [c.sensitivity for c in comparisons if c.sensitivity is not None]
    return min(factors, key=lambda factor: abs(np.log(factor))) if factors else None


def run(
    keys: Iterable[str] | str | None = None,
    *,
    budget: str = "quick",
    seed: int | np.random.SeedSequence = 0,
    jobs: int = 1,
    out: str | Path | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run checks and return their results.

    Parameters
    ----------
    keys : iterable of str, str or None
        Keys of guarantees or papers; None runs the whole catalogue.
    budget : str
        "quick" or "full".
    seed : int or numpy.random.SeedSequence
        Same seed, same result, whatever `jobs`.
    jobs : int
        Worker processes on this machine; 1 runs in this process.
    out : path, optional
        Folder of the record.  Finished checks are appended to it at once; a run into the same folder continues.
    dask : str, optional
        Address of a Dask scheduler that runs the checks instead (extra `[dask]`).
    progress : callable, optional
        Called with `(key, None)` when a check starts (in this process) and `(key, result)` when it is finished.

    Returns
    -------
    Run
        Results in the order of the catalogue.

    Raises
    ------
    ValueError
        If a key is unknown, an option is out of range, or `out` holds a run of another seed, budget or version.

    Examples
    --------
    >>> from verify import run
    >>> run(["policy_smoothing/G6"]).results["policy_smoothing/G6"].verdict.name
    'HOLDS'
    """
    require_choice("budget", budget, BUDGETS)
    seed = require_seed("seed", seed)
    require_int("jobs", jobs, minimum=1)
    selected = select(keys)
    start = time.perf_counter()
    record = open_record(out, budget=budget, seed=seed) if out is not None else None
    kept = {key: _restore(entry) for key, entry in (record.entries.items() if record else ()) if key in selected}
    done = {key: result for key, result in kept.items() if result is not None}
    for key, result in done.items():
        if progress:
            progress(key, result)
    remaining = [key for key in selected if key not in done]
    for result in _execute(remaining, budget, seed, jobs, dask, progress):
        done[result.key] = result
        _keep(record, result)
        if progress:
            progress(result.key, result)
    results = {key: done[key] for key in selected}
    return Run(results=MappingProxyType(results), budget=budget, seed=seed, seconds=time.perf_counter() - start)


def _restore(entry: Mapping[str, Any]) -> Result | None:
    """Return the result that an entry of the record stands for, or None for a damaged entry, whose check runs again."""
    try:
        fields = result_from_json(entry)
        fields["controls"] = MappingProxyType({name: ControlResult(**c) for name, c in fields["controls"].items()})
        return Result(**fields)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _keep(record: Record | None, result: Result) -> None:
    if record is not None and not result.error:
        record.append(result_to_json(result))


def _by_key(key: str, budget: str, seed: int) -> Result:
    return run_check(checks()[key], budget=budget, seed=seed)


def _execute(keys: list[str], budget: str, seed: int, jobs: int, dask: str | None, progress: Progress | None) -> Iterator[Result]:
    if dask is not None:
        from verify.scale import run_on_dask

        yield from run_on_dask(_by_key, keys, budget, seed, dask)
    elif jobs > 1 and len(keys) > 1:
        import joblib

        longest_first = sorted(keys, key=lambda key: -checks()[key].cost[budget])
        pool = joblib.Parallel(n_jobs=min(jobs, len(keys)), return_as="generator_unordered")
        yield from pool(joblib.delayed(_by_key)(key, budget, seed) for key in longest_first)
    else:
        for key in keys:
            if progress:
                progress(key, None)
            yield _by_key(key, budget, seed)
