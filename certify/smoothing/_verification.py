"""Verify the file of a certificate: compute it again from its returns, and sample part of its episodes again.

A file may be forged, so every field that follows from the returns and the settings is compared, the settings must fit the provenance, and
no code that it names runs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from certify.smoothing.certificates import RewardCertificate
from certify.smoothing.policies import default_policy_path, load_policy
from certify.smoothing.returns import Returns
from certify.smoothing.sampling import sample_returns

__all__ = ["differences", "read_certificate", "sample_again"]


def read_certificate(path: Path) -> tuple[RewardCertificate, dict[str, Any]]:
    """Return the certificate in a file and the record as it stands there.

    Raises
    ------
    ValueError
        If the file cannot be read or holds no certificate.
    """
    try:
        record = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"certificate must be a file that can be read, got {path} ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"certificate must be a JSON file, {path} is not: {error}") from None
    return RewardCertificate.from_json(record), record


def differences(stored: RewardCertificate, record: dict[str, Any]) -> tuple[list[str], float | None]:
    """Return the fields of the file that do not follow from its returns and settings, and the largest difference of the bounds.

    A contradiction between the settings and the provenance stands for a field, and then there is no difference to tell.
    """
    try:
        again = stored.recompute()
    except ValueError as error:
        return [str(error)], None
    fresh = {name: value for name, value in again.to_json().items() if name != "provenance"}
    return [name for name, value in fresh.items() if record.get(name) != value], float(np.max(np.abs(stored.lower - again.lower)))


def sample_again(
    stored: RewardCertificate,
    episodes: int,
    *,
    policy: str | None = None,
    normalisation: Path | None = None,
    jobs: int = 1,
    trust: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Sample stretches of the stored stream again, one at its start, one at its end, the others at random, and compare each return.

    Nothing that the file names is imported without `trust`: its policy and its environment may be code.

    Parameters
    ----------
    stored : RewardCertificate
        What `read_certificate` read.
    episodes : int
        How many to sample; 0 for none.
    policy : str or None
        Where the policy is; None takes what the certificate says.
    normalisation : Path or None
        Observation statistics kept outside the policy file.
    jobs : int
        Workers on this machine.
    trust : bool
        Whether code that the certificate names may run.
    progress : callable or None
        Called with (episodes done, episodes in all).

    Returns
    -------
    dict
        `resampled`: "equal", "different", "not possible" or "not asked"; `detail`: a sentence.

    Raises
    ------
    ValueError
        If the policy is another one, or the provenance is no setting that can be sampled.
    """
    if episodes == 0:
        return {"resampled": "not asked", "detail": "episodes is 0"}
    if stored.provenance is None or stored.provenance.get("seed") is None:
        return {"resampled": "not possible", "detail": "the returns were given, not sampled"}
    source = Returns.from_json({**stored.provenance, "values": stored.returns})
    place = policy or source.policy
    if not trust and ":" in source.env_id:
        return {"resampled": "not possible", "detail": f"the certificate names code, {source.env_id}; --trust lets it run"}
    if policy is None and not Path(place).is_file():
        if ":" in place and not trust:
            return {"resampled": "not possible", "detail": f"the certificate names code, {place}; name the policy with --policy, or --trust the certificate"}
        shipped = default_policy_path()
        if ":" not in place and shipped.name != Path(place).name:
            return {"resampled": "not possible", "detail": f"no policy at {place}; name its place with --policy"}
        place = place if ":" in place else str(shipped)
    loaded = load_policy(place, trust=trust)
    if loaded.sha256 != source.policy_sha256:
        raise ValueError(f"policy must be the one certified, with SHA-256 {source.policy_sha256}; {place} has {loaded.sha256}")
    if source.normalisation_sha256 and normalisation is None:
        raise ValueError("normalisation must be given: the certified policy had observation statistics applied")
    kind = "torch" if source.engine.startswith("torch") else "numba" if source.engine.startswith("numba") else source.engine
    count = min(episodes, stored.episodes)
    different, worst, done, odd = 0, 0.0, 0, set()
    for first, size in _stretches(stored.episodes, count):
        fresh = sample_returns(
            loaded, source.env_id, sigma=source.sigma, episodes=size, seed=source.seed, frames=source.frames, protocol=source.protocol,  # type: ignore[arg-type]
            average=source.average, noise=source.noise, dtype=source.dtype, engine=kind, device="cuda" if source.engine == "torch-cuda" else None,
            fast=source.engine == "numba-fast", normalisation=normalisation, jobs=jobs, max_steps=source.max_steps,
            first_episode=source.first_episode + first,
        )  # fmt: skip
        gap = np.abs(fresh.values - stored.returns[first : first + size])
        different += int(np.count_nonzero(gap))
        worst = max(worst, float(gap.max()))
        odd |= {name for name, value in fresh.provenance.items() if name not in ("policy", "first_episode") and value != source.provenance[name]}
        done += size
        if progress is not None:
            progress(done, count)
    detail = f"{different} of {count} returns differ, by at most {worst:g}" + (f"; other provenance: {', '.join(sorted(odd))}" if odd else "")
    return {"resampled": "different" if different or odd else "equal", "detail": detail}


def _stretches(total: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield (first, size) of up to six stretches of `count` episodes together, spread over all: the first at the start, the last at the end."""
    pieces, spare, place = min(6, count), total - count, random.SystemRandom()  # where nobody who wrote the file could foresee
    skipped = [0, *sorted(place.randint(0, spare) for _ in range(pieces - 2)), spare]
    for k in range(pieces):
        first, last = count * k // pieces, count * (k + 1) // pieces
        yield first + skipped[k], last - first
