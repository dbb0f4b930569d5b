"""Discovery of the checks: the modules of `verify.checks` and those that other distributions announce."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

import theory
from verify.check import Check

__all__ = ["check_of", "checks", "select"]

@cache
def checks() -> Mapping[str, Check]:
    """Return every check by the key of its guarantee, in the order of the catalogue.

    Returns
    -------
    Mapping
        Key to `Check`.  A module that another distribution announces under the entry point group `lemmata.guarantees` defines
        its own `CHECKS` beside `PAPER` and `GUARANTEES`.

    Raises
    ------
    ValueError
        If a guarantee has two checks or a check tests a guarantee that is not in the catalogue.
    """
    package = importlib.import_module("verify.checks")
    modules = [importlib.import_module(f"verify.checks.{info.name}") for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
    modules += [module for module in theory.paper_modules().values() if hasattr(module, "CHECKS")]
    found: dict[str, Check] = {}
    for module in modules:
        for check in module.CHECKS:
            if found.get(check.key, check) is not check:
                raise ValueError(f"guarantee {check.key} has two checks")
            if check.key not in theory.catalogue():
                raise ValueError(f"check of {check.key}: no such guarantee in the catalogue")
            found[check.key] = check
    order = list(theory.catalogue())
    return MappingProxyType({key: found[key] for key in sorted(found, key=order.index)})


def select(keys: Iterable[str] | str | None) -> tuple[str, ...]:
    """Return the keys that the given ones name, in the order of the catalogue.

    Parameters
    ----------
    keys : iterable of str, str or None
        Keys of guarantees (`policy_smoothing/G2`) or of papers (`policy_smoothing`); None means every one.

    Returns
    -------
    tuple of str
        Keys that have a check.

    Raises
    ------
    ValueError
        If a key is unknown; the message suggests the nearest.
    """
    known = checks()
    if keys is None:
        return tuple(known)
    wanted = [keys] if isinstance(keys, str) or not isinstance(keys, Iterable) else list(keys)
    chosen: set[str] = set()
    for name in wanted:
        if not isinstance(name, str):
            raise ValueError(f"key must be that of a guarantee or a paper, got {name!r} ('lemmata list' shows all)")
        matches = [key for key in known if key == name or key.split("/")[0] == name]
        if not matches:
            candidates = [*known, *theory.papers()]
            near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"key must be that of a guarantee or a paper, got {name!r}{hint} ('lemmata list' shows all)")
        chosen.update(matches)
    return tuple(key for key in known if key in chosen)


def check_of(key: str) -> Check:
    """Return the check of one guarantee.

    Raises
    ------
    ValueError
        If the key is unknown; the message suggests the nearest.
    """
    selected = select(key)
    if len(selected) != 1 or selected[0] != key:
        raise ValueError(f"key must name one guarantee, got {key!r}, which names {len(selected)}: {', '.join(selected)}")
    return checks()[key]
