"""Sample the return of a policy whose observations carry fresh noise.

Episode e of seed s is a function of (s, e) alone: its reset, its noise at step t and its return do not depend on which other
episodes are played, in what order, or by how many workers.  Policies that are perceptrons are evaluated in one fixed order of
summation; other policies see chunks whose rows never move.  `fast=True` gives up the last bits of that promise for speed.

Source: policy_smoothing (setting, protocols and stream layout), G13 for `noise="grid"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.smoothing._environments import Environment, describe
from certify.smoothing._grid import GRID_STEP, grid_tv
from certify.smoothing._networks import CallablePolicy, CnnPolicy, MlpPolicy
from certify.smoothing._plan import Plan, chunks, play
from certify.smoothing.normalisation import Normalisation, load_normalisation
from certify.smoothing.returns import NOISES, PROTOCOLS, Returns

__all__ = ["ENGINES", "noise_limit", "plan_sampling", "run_plan", "sample_returns"]

ENGINES = ("auto", "numba", "torch", "gymnasium")
"""`auto` takes the compiled dynamics where there are some and the policy is a perceptron, Gymnasium otherwise."""


def sample_returns(
    policy: Any,
    env_id: str,
    *,
    sigma: float | Sequence[float],
    episodes: int,
    seed: int | np.random.SeedSequence,
    frames: int = 1,
    protocol: str = "frames-noised-once",
    average: int = 1,
    noise: str = "gaussian",
    dtype: str | None = None,
    engine: str = "auto",
    device: str | None = None,
    fast: bool = False,
    jobs: int = 1,
    dask: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    first_episode: int = 0,
    normalisation: Normalisation | str | Path | None = None,
    max_steps: int | None = None,
) -> Returns:
    """Play episodes of a policy under fresh observation noise and return what each one earned.

    Parameters
    ----------
    policy : Policy, callable, str or Path
        From `load_policy`, a function from a batch of observations to actions, or what `load_policy` takes.
    env_id : str
        Gymnasium id.
    sigma : float or sequence of float
        Standard deviation of the noise, one number or one for each coordinate of an observation, in its units (bytes for pixels).
    episodes : int
        Number of episodes, at least 1.
    seed : int or numpy.random.SeedSequence
        Key of the stream, 0 to 2^64 - 1.
    frames : int
        Stacked frames, oldest first; the stack starts as copies of the first noised frame.
    protocol : str
        `frames-noised-once` (each frame noised when it is new) or `frames-noised-per-copy` (afresh at every step, once for every frame in
        the stack; the copies of the first frame that fill a young stack share a draw, so no frame is noised more than `frames` times).
    average : int
        Noisy evaluations of the same observation whose raw outputs are averaged at each step.
    noise : str
        `gaussian`, or `grid`: integer noise on a grid of sigma / 256, free of floating-point leaks.
    dtype : str or None
        `float32` or `float64` for the policy; None takes that of its weights.
    engine : str
        One of `ENGINES`.
    device : str or None
        Device of the torch engine, `cpu` or `cuda`; with `engine="auto"` a CUDA device asks for that engine.
    fast : bool
        Batched matrix products with finished episodes removed: faster, but the last bits depend on the batch.
    jobs : int
        Workers on this machine.
    dask : str or None
        Address of a Dask scheduler that plays the chunks instead.
    progress : callable or None
        Called with (episodes done, episodes in all) after each chunk.
    first_episode : int
        Number of the first episode in the stream.
    normalisation : Normalisation, str, Path or None
        Statistics applied to the noised observation before the policy.
    max_steps : int or None
        Step limit in place of the environment's.

    Returns
    -------
    Returns
        The returns in the order of the episode numbers, with their provenance.

    Raises
    ------
    ValueError
        If an argument is outside its range, the environment is unknown, or the policy does not fit it.

    Notes
    -----
    Source: policy_smoothing, setting; noise enters before anything else the policy does, also before normalisation.

    Examples
    --------
    >>> from certify.smoothing import load_policy
    >>> from certify.smoothing.policies import default_policy_path
    >>> returns = sample_returns(load_policy(default_policy_path()), "CartPole-v1", sigma=0.2, episodes=20, seed=0)
    >>> len(returns), returns.floor
    (20, 1.0)
    """
    plan, provenance = plan_sampling(
        policy, env_id, sigma=sigma, seed=seed, frames=frames, protocol=protocol, average=average, noise=noise, dtype=dtype, engine=engine,
        device=device, fast=fast, normalisation=normalisation, max_steps=max_steps,
    )  # fmt: skip
    _require_count("episodes", episodes, 1)
    _require_count("first_episode", first_episode, 0)
    _require_count("jobs", jobs, 1)
    values = np.empty(episodes)
    done = 0
    for first, part in run_plan(plan, list(chunks(plan.engine, first_episode, episodes)), jobs=jobs, dask=dask):
        values[first - first_episode : first - first_episode + len(part)] = part
        done += len(part)
        if progress is not None:
            progress(done, episodes)
    return Returns(values, first_episode=first_episode, **provenance)


def plan_sampling(
    policy: Any,
    env_id: str,
    *,
    sigma: float | Sequence[float],
    seed: int | np.random.SeedSequence,
    frames: int = 1,
    protocol: str = "frames-noised-once",
    average: int = 1,
    noise: str = "gaussian",
    dtype: str | None = None,
    engine: str = "auto",
    device: str | None = None,
    fast: bool = False,
    normalisation: Normalisation | str | Path | None = None,
    max_steps: int | None = None,
) -> tuple[Plan, dict[str, Any]]:
    """Check everything about a sampling job but its extent.

    Parameters
    ----------
    policy, env_id, sigma, seed, frames, protocol, average, noise, dtype, engine, device, fast, normalisation, max_steps
        As in `sample_returns`.

    Returns
    -------
    plan : Plan
        What the engines play.
    provenance : dict
        The fields of `Returns` apart from the values and the first episode.

    Raises
    ------
    ValueError
        If an argument is outside its range or the parts do not fit each other.
    """
    policy = _as_policy(policy)
    for name, value, allowed in (("protocol", protocol, PROTOCOLS), ("noise", noise, NOISES), ("engine", engine, ENGINES)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    _require_count("frames", frames, 1)
    _require_count("average", average, 1)
    if not isinstance(env_id, str):
        raise ValueError(f"env_id must be the id of a Gymnasium environment, got {type(env_id).__name__}")
    env = describe(env_id)
    spread = _sigma(sigma, env)
    key, number = _key(seed)
    limit = max_steps if max_steps is not None else env.max_steps
    if limit is None:
        raise ValueError(f"environment {env_id!r} has no step limit; pass max_steps")
    _require_count("max_steps", limit, 1)
    _require_fit(policy, env, frames, average)
    if dtype is None:
        dtype = str(policy.weights[0].dtype) if isinstance(policy, MlpPolicy) and policy.weights[0].dtype == np.float64 else "float32"
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    chosen, place = _engine(engine, device, fast, env, policy)
    if chosen == "numba-fast" and (average > 1 or protocol != "frames-noised-once"):
        raise ValueError(f"fast=True needs average=1 and protocol='frames-noised-once', got average={average} and protocol={protocol!r}")
    shift, scale, clip, digest = _normalisation(normalisation, env.size, frames)
    plan = Plan(
        policy, env, chosen, key, spread, frames, average, int(limit), protocol == "frames-noised-per-copy",
        GRID_STEP if noise == "grid" else 0.0, dtype, shift, scale, clip, place,
    )  # fmt: skip
    draws = plan.max_steps * average * env.size * (frames if plan.per_copy else 1)
    provenance = {
        "policy": policy.name, "policy_sha256": policy.sha256, "env_id": env_id,
        "sigma": float(spread[0]) if np.ndim(sigma) == 0 else tuple(float(s) for s in spread), "frames": frames, "seed": number,
        "protocol": protocol, "max_steps": plan.max_steps, "engine": chosen, "dtype": dtype, "noise": noise, "floor": _floor(policy, env, limit),
        "average": average, "grid": GRID_STEP if noise == "grid" else None, "noise_tv": grid_tv(draws) if noise == "grid" else 0.0,
        "normalisation_sha256": digest,
    }  # fmt: skip
    return plan, provenance


def run_plan(plan: Plan, pieces: list[tuple[int, int]], *, jobs: int = 1, dask: str | None = None) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (first episode, returns) piece by piece, in order.

    Parameters
    ----------
    plan : Plan
        From `plan_sampling`.
    pieces : list of (int, int)
        First episode and count of each piece, none of which crosses a multiple of the engine's chunk.
    jobs : int
        Workers on this machine.
    dask : str or None
        Address of a Dask scheduler.

    Yields
    ------
    tuple
        First episode number and the returns of the piece.

    Raises
    ------
    ValueError
        If there is no scheduler at the address.
    """
    if dask is not None:
        yield from _on_dask(plan, pieces, dask)
    elif jobs == 1 or len(pieces) == 1:
        for start, count in pieces:
            yield start, play(plan, start, count)
    else:
        from joblib import Parallel, delayed

        # Compiled kernels release the interpreter, so threads do; Gymnasium is Python and needs processes.
        threads = plan.engine != "gymnasium"
        if plan.engine.startswith("numba"):
            play(plan, pieces[0][0], 1)  # compile once, not in every thread
        results = Parallel(n_jobs=jobs, prefer="threads" if threads else "processes", return_as="generator")(
            delayed(play)(plan, start, count) for start, count in pieces
        )
        for (start, _), values in zip(pieces, results, strict=True):
            yield start, values


def noise_limit(noise: str = "gaussian") -> float:
    """Return the largest absolute value, in units of sigma, that the generator can produce; budgets beyond it mean nothing.

    Parameters
    ----------
    noise : str
        `gaussian` (Box-Muller on (word + 1/2) / 2^32) or `grid`.

    Returns
    -------
    float
        The limit.

    Raises
    ------
    ValueError
        If `noise` is unknown.

    Examples
    --------
    >>> round(noise_limit(), 4)
    6.7637
    """
    if noise not in NOISES:
        raise ValueError(f"noise must be one of {', '.join(NOISES)}; got {noise!r}")
    if noise == "grid":
        from certify.smoothing._grid import grid_table

        return float(GRID_STEP * (len(grid_table()[0]) // 2))
    return float(np.sqrt(-2.0 * np.log(0.5 * 2.0**-32)))


def _on_dask(plan: Plan, pieces: list[tuple[int, int]], address: str) -> Iterator[tuple[int, NDArray[np.float64]]]:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("dask needs the package distributed: pip install 'lemmata[dask]'") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise ValueError(f"dask must be the address of a running scheduler, got {address!r}: {error}") from None
    with client:
        futures = [client.submit(play, plan, start, count, pure=False) for start, count in pieces]
        for (start, _), future in zip(pieces, futures, strict=True):
            yield start, future.result()


def _as_policy(policy: Any) -> Any:
    if isinstance(policy, str | Path):
        from certify.smoothing.policies import load_policy

        return load_policy(policy)
    if callable(getattr(policy, "act", None)):
        whole = all(hasattr(policy, name) for name in ("name", "sha256", "inputs"))
        return policy if whole else CallablePolicy(policy.act, type(policy).__name__)
    if callable(policy):
        return CallablePolicy(policy, getattr(policy, "__name__", "callable"))
    raise ValueError(f"policy must be a policy, a function or a path, got {type(policy).__name__}")


def _require_count(name: str, value: Any, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


def _sigma(sigma: float | Sequence[float], env: Environment) -> NDArray[np.float64]:
    try:
        spread = np.asarray(sigma, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"sigma must be a positive number or one for each coordinate, got {sigma!r}") from None
    if spread.ndim not in (0, 1) or (spread.ndim == 1 and spread.size != env.size):
        raise ValueError(f"sigma must be one number or {env.size} numbers for {env.env_id}, got shape {spread.shape}")
    if not np.all(np.isfinite(spread) & (spread > 0)):
        raise ValueError(f"sigma must be positive and finite, got {sigma!r}")
    return np.array(np.broadcast_to(spread, (env.size,)))


def _key(seed: int | np.random.SeedSequence) -> tuple[NDArray[np.uint64], int]:
    if isinstance(seed, np.random.SeedSequence):
        low, high = (int(word) for word in seed.generate_state(2, np.uint32))
        seed = low | high << 32
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be an integer from 0 to 2^64 - 1 or a SeedSequence, got {seed!r}")
    return np.array([int(seed) & 0xFFFFFFFF, int(seed) >> 32], np.uint64), int(seed)


def _require_fit(policy: Any, env: Environment, frames: int, average: int) -> None:
    inputs = policy.inputs
    if inputs is not None and inputs != env.size * frames:
        hint = f"; frames={inputs // env.size} fits" if inputs % env.size == 0 else ""
        raise ValueError(f"policy reads {inputs} numbers, but {env.env_id} with frames={frames} gives {env.size * frames}{hint}")
    head = getattr(policy, "head", None)
    if average > 1 and not hasattr(policy, "scores"):
        raise ValueError(f"average must be 1 for a policy without raw outputs, got {average}")
    if not isinstance(policy, MlpPolicy | CnnPolicy) or head is None:
        return
    outputs = (policy if isinstance(policy, MlpPolicy) else policy.dense).outputs
    wanted = env.actions if env.actions is not None else len(env.low)
    if (head.kind == "argmax") != (env.actions is not None) or outputs != wanted:
        kind = "discrete actions" if env.actions is not None else "coordinates of real actions"
        raise ValueError(f"policy has {outputs} outputs for a {head.kind} action, but {env.env_id} has {wanted} {kind}")
    if env.actions is not None and head.start != env.first:
        raise ValueError(f"policy has actions from {head.start} on, but those of {env.env_id} begin with {env.first}")


def _engine(engine: str, device: str | None, fast: bool, env: Environment, policy: Any) -> tuple[str, str]:
    compiled = env.code is not None and isinstance(policy, MlpPolicy)
    if engine == "auto" and device is not None:
        engine, device = ("auto", None) if device == "cpu" else ("torch", device)
    if device is not None and engine != "torch":
        raise ValueError(f"device is for engine='torch', got device={device!r} with engine={engine!r}")
    if engine == "torch":
        if fast:
            raise ValueError("fast=True is for engine='numba'; engine='torch' multiplies whole batches anyway")
        if env.code is None or not isinstance(policy, MlpPolicy):
            raise ValueError(f"engine='torch' needs built-in dynamics and a perceptron; {env.env_id} with {type(policy).__name__} has engine='gymnasium'")
        from certify.smoothing._torch_engine import resolve_device

        place = resolve_device(device or "cpu")
        return f"torch-{place.partition(':')[0]}", place
    if engine == "numba" and not compiled:
        raise ValueError(f"engine='numba' needs built-in dynamics and a perceptron; {env.env_id} with {type(policy).__name__} has engine='gymnasium'")
    if engine == "gymnasium" or not compiled:
        if fast:
            raise ValueError(f"fast=True needs built-in dynamics and a perceptron, got {env.env_id} with {type(policy).__name__} in Gymnasium")
        return "gymnasium", "cpu"
    return ("numba-fast" if fast else "numba"), "cpu"


def _normalisation(given: Normalisation | str | Path | None, size: int, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float, str]:
    if given is None:
        return np.zeros(size * frames), np.ones(size * frames), 0.0, ""
    stats = load_normalisation(given) if isinstance(given, str | Path) else given
    if stats.mean.size not in (size, size * frames):
        raise ValueError(f"normalisation must have {size} or {size * frames} entries, got {stats.mean.size}")
    repeat = size * frames // stats.mean.size
    shift, scale = np.tile(stats.mean, repeat), np.tile(np.sqrt(stats.variance + stats.epsilon), repeat)
    return shift, scale, float(stats.clip), stats.sha256


def _floor(policy: Any, env: Environment, max_steps: int) -> float | None:
    head = getattr(policy, "head", None)
    if env.env_id == "MountainCarContinuous-v0":
        # The action is paid for as the policy gives it, so the floor follows the policy's own bounds.
        return -0.1 * max_steps * max(abs(head.low[0]), abs(head.high[0])) ** 2 if isinstance(policy, MlpPolicy) and head is not None else None
    return env.floor(max_steps)
