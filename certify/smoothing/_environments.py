"""What the sampling engine must know of an environment before it plays."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

__all__ = ["BUILT_IN", "Environment", "describe", "make"]


@dataclass(frozen=True)
class Environment:
    """Sizes and limits of an environment.

    Parameters
    ----------
    env_id : str
        Gymnasium id.
    shape : tuple of int
        Shape of one observation.
    max_steps : int or None
        Step limit of an episode.
    actions : int or None
        Number of discrete actions, None for real ones.
    low, high : tuple of float
        Bounds of real actions.
    code : int or None
        Number of the compiled dynamics, None without.
    worst : float or None
        Lower bound of the reward of one step, 0 or less.
    least : float or None
        Lower bound of the return of an episode of any length.
    first : int
        Number of the first discrete action.
    """

    env_id: str
    shape: tuple[int, ...]
    max_steps: int | None
    actions: int | None
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    code: int | None = None
    worst: float | None = None
    least: float | None = None
    first: int = 0

    @property
    def size(self) -> int:
        """Numbers in one observation."""
        return math.prod(self.shape)

    def floor(self, max_steps: int) -> float | None:
        """Return a lower bound of the return that holds under any attack, when one is known."""
        if self.least is not None:
            return self.least
        return None if self.worst is None else self.worst * max_steps


BUILT_IN = {
    # Every step of CartPole pays 1 and there is at least one.
    "CartPole-v0": Environment("CartPole-v0", (4,), 200, 2, code=0, least=1.0),
    "CartPole-v1": Environment("CartPole-v1", (4,), 500, 2, code=0, least=1.0),
    "MountainCar-v0": Environment("MountainCar-v0", (2,), 200, 3, code=1, worst=-1.0),
    # A step costs a tenth of the squared action, and real actions are clipped to their bounds before they are paid for.
    "MountainCarContinuous-v0": Environment("MountainCarContinuous-v0", (2,), 999, None, (-1.0,), (1.0,), code=2, worst=-0.1),
    "Acrobot-v1": Environment("Acrobot-v1", (6,), 500, 3, code=3, worst=-1.0),
    "Pendulum-v1": Environment("Pendulum-v1", (3,), 200, None, (-2.0,), (2.0,), code=4, worst=-(math.pi**2 + 0.1 * 8.0**2 + 0.001 * 2.0**2) - 1e-6),
}
"""Environments with compiled dynamics."""


def describe(env_id: str) -> Environment:
    """Return what is known of an environment.

    Parameters
    ----------
    env_id : str
        Gymnasium id.

    Returns
    -------
    Environment
        Its sizes and limits.

    Raises
    ------
    ValueError
        If the id is unknown, or observations or actions are of a kind that cannot be certified.
    """
    if env_id in BUILT_IN:
        return BUILT_IN[env_id]
    env = make(env_id, None)
    try:
        return _described(env_id, env)
    finally:
        env.close()


def make(env_id: str, max_steps: int | None) -> Any:
    """Return a Gymnasium environment; ids under `ALE/` are registered on the way.

    Parameters
    ----------
    env_id : str
        Gymnasium id, or `module:id`.
    max_steps : int or None
        Step limit in place of the registered one.

    Returns
    -------
    gymnasium.Env
        The environment.

    Raises
    ------
    ValueError
        If it is unknown or needs a package that is missing.
    """
    import gymnasium

    if env_id.startswith("ALE/"):
        try:
            import ale_py

            gymnasium.register_envs(ale_py)
        except ImportError:
            raise ValueError(f"environment {env_id!r} needs the package ale-py: pip install 'lemmata[atari]'") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old but registered versions are what published certificates use
        try:
            return gymnasium.make(env_id, max_episode_steps=max_steps, disable_env_checker=True)
        except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
            raise ValueError(f"environment {env_id!r} cannot be made: {str(error).splitlines()[0][:200]}") from None


def _described(env_id: str, env: Any) -> Environment:
    from gymnasium import spaces

    observation, action = env.observation_space, env.action_space
    if env_id.startswith("ALE/"):
        # The vector environment gives grey 84 x 84 frames and ends an episode after 108,000 frames, four to a step.
        return Environment(env_id, (84, 84), 27_000, int(action.n))
    if not isinstance(observation, spaces.Box):
        raise ValueError(f"environment {env_id!r} has observations of type {type(observation).__name__}; only Box can carry Gaussian noise")
    limit = env.spec.max_episode_steps if env.spec is not None else None
    shape = tuple(int(n) for n in observation.shape)
    if isinstance(action, spaces.Discrete):
        return Environment(env_id, shape, limit, int(action.n), first=int(action.start))
    if isinstance(action, spaces.Box):
        low, high = (tuple(float(v) for v in side.ravel()) for side in (action.low, action.high))
        return Environment(env_id, shape, limit, None, low, high)
    raise ValueError(f"environment {env_id!r} has actions of type {type(action).__name__}; Discrete and Box are supported")
