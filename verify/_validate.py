"""Checks of arguments at the public door of `verify`; each raises ValueError naming the argument, what it was and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def require_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value outside the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_int(name: str, value: Any, *, minimum: int) -> None:
    """Refuse what is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")


def require_seed(name: str, value: Any) -> int:
    """Return the seed as an int; a `numpy.random.SeedSequence` stands for the first word of its state."""
    if isinstance(value, np.random.SeedSequence):
        return int(value.generate_state(1, np.uint64)[0])
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 0:
        raise ValueError(f"{name} must be an integer >= 0 or a SeedSequence, got {value!r}")
    return int(value)


def require_open_unit(name: str, value: Any) -> None:
    """Refuse what is not a number strictly between 0 and 1."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not 0.0 < value < 1.0:
        raise ValueError(f"{name} must be in (0, 1), got {value!r}")


def require_positive(name: str, value: Any) -> None:
    """Refuse what is not a finite number above zero."""
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__") or not 0.0 < value < float("inf"):
        raise ValueError(f"{name} must be a positive finite number, got {value!r}")
