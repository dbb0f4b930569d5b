"""Checks of arguments at the public door of `verify`; each raises ValueError naming the argument, what it was and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def require_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Refuse a value outside the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_int(name: str, value: Any, *, minimum: int) -> None:
    """Refuse what is not an integer of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
