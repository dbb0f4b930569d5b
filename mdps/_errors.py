"""What can be wrong with a model, a policy or a run: one exception per defect, with the place as fields.

All derive from `ModelError`, which is a `ValueError`.  The message says where, what was found, what is allowed.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BrokenFile",
    "InfiniteDiameter",
    "InvalidDiscount",
    "InvalidPolicy",
    "ModelError",
    "Multichain",
    "NegativeProbability",
    "NoAction",
    "NotConverged",
    "NotFinite",
    "NotStochastic",
    "WrongShape",
]


class ModelError(ValueError):
    """Something about a model, or what was asked of it, is not allowed."""


class BrokenFile(ModelError):
    """A model file that cannot be read; the message names the file, and the line where there are lines."""

    def __init__(self, path: object, reason: str, *, line: int | None = None) -> None:
        self.path, self.line, self.reason = str(path), line, reason
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _broken_file, (self.path, self.reason, self.line)


class NotStochastic(ModelError):
    """A row of the transition kernel does not sum to one."""

    def __init__(self, state: int, action: int, total: float, *, tolerance: float = 1e-9, stage: int | None = None) -> None:
        self.state, self.action, self.total, self.tolerance, self.stage = state, action, total, tolerance, stage
        where = _place(state, action, stage)
        super().__init__(f"transition row of {where} sums to {total!r}; it must be 1 within {tolerance:g}: normalise it or fix the model")


class NegativeProbability(ModelError):
    """An entry of the transition kernel is negative."""

    def __init__(self, state: int, action: int, successor: int, value: float, *, stage: int | None = None) -> None:
        self.state, self.action, self.successor, self.value, self.stage = state, action, successor, value, stage
        where = _place(state, action, stage)
        super().__init__(f"transition probability of {where} to state {successor} is {value!r}; probabilities must be >= 0")


class NotFinite(ModelError):
    """An entry of an array is NaN or infinite."""

    def __init__(self, name: str, place: str, value: float) -> None:
        self.name, self.place, self.value = name, place, value
        super().__init__(f"{name} at {place} is {value!r}; it must be a finite number")


class WrongShape(ModelError):
    """An array has a shape that does not fit the model."""

    def __init__(self, name: str, got: tuple[int, ...], allowed: str) -> None:
        self.name, self.got, self.allowed = name, got, allowed
        super().__init__(f"{name} has shape {got}; allowed is {allowed}")


class InvalidDiscount(ModelError):
    """A discount outside (0, 1], or one that the criterion cannot use."""

    def __init__(self, discount: object, allowed: str = "a number in (0, 1]") -> None:
        self.discount = discount
        super().__init__(f"discount must be {allowed}, got {discount!r}")


class InvalidPolicy(ModelError):
    """A policy that is no distribution over the allowed actions of each state, or has the wrong shape."""


class NoAction(ModelError):
    """A state in which the mask leaves no action."""

    def __init__(self, state: int) -> None:
        self.state = state
        super().__init__(f"action_mask leaves no action in state {state}; every state needs at least one")


class Multichain(ModelError):
    """Average reward asked of a model whose optimal gain may depend on the state."""

    def __init__(self, classes: tuple[tuple[int, ...], ...], detail: str = "") -> None:
        self.classes = classes
        shown = ", ".join(str(list(c[:5])) for c in classes[:3])
        super().__init__(
            f"the model is multichain{': ' + detail if detail else ''} (closed classes that cannot reach each other: {shown}); "
            "average reward is solved for unichain and weakly communicating models only"
        )


class InfiniteDiameter(ModelError):
    """Some state cannot be reached from some other one under any policy."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        super().__init__(f"the diameter is infinite: state {target} cannot be reached with probability 1 from state {source} under any policy")


class NotConverged(ModelError, RuntimeError):
    """A budget was spent, or rounding stood in the way, before the tolerance was met; `solution` is what was reached."""

    def __init__(self, message: str, solution: Any) -> None:
        self.solution = solution
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.solution)


def _place(state: int, action: int, stage: int | None) -> str:
    return f"state {state}, action {action}" + ("" if stage is None else f", stage {stage}")


def _broken_file(path: str, reason: str, line: int | None) -> BrokenFile:
    return BrokenFile(path, reason, line=line)
