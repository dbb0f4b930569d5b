"""Discovery of the papers: every module of this package that defines `PAPER` and `GUARANTEES`, and the announced ones of others."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from types import MappingProxyType, ModuleType

from theory._types import Guarantee, Paper

ENTRY_POINTS = "lemmata.guarantees"


@cache
def paper_modules() -> Mapping[str, ModuleType]:
    """Return the modules that state guarantees, by the key of their paper.

    Returns
    -------
    Mapping
        Paper key to module, sorted by key.  An entry point of the group `lemmata.guarantees` names a module with `PAPER` and
        `GUARANTEES`.

    Raises
    ------
    ValueError
        If two modules claim one paper key, or a module states a guarantee of another paper.
    """
    package = importlib.import_module("theory")
    names = [f"theory.{info.name}" for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
    modules = [importlib.import_module(name) for name in names]
    modules += [point.load() for point in metadata.entry_points(group=ENTRY_POINTS)]
    found: dict[str, ModuleType] = {}
    for module in modules:
        if not hasattr(module, "GUARANTEES"):
            continue
        key = module.PAPER.key
        if key in found and found[key] is not module:
            raise ValueError(f"two modules state the paper {key!r}: {found[key].__name__} and {module.__name__}")
        found[key] = module
    return MappingProxyType(dict(sorted(found.items())))


@cache
def papers() -> Mapping[str, Paper]:
    """Return every paper of the catalogue by key, sorted."""
    return MappingProxyType({key: module.PAPER for key, module in paper_modules().items()})


@cache
def catalogue() -> Mapping[str, Guarantee]:
    """Return every guarantee by key.

    Returns
    -------
    Mapping
        Key to `Guarantee`; papers sorted by key, guarantees in the order of their module.

    Raises
    ------
    ValueError
        If a key is stated twice or under a module of another paper.

    Examples
    --------
    >>> import theory
    >>> theory.catalogue()["policy_smoothing/G2"].kind
    'inequality'
    """
    found: dict[str, Guarantee] = {}
    for key, module in paper_modules().items():
        for guarantee in module.GUARANTEES:
            if guarantee.paper.key != key:
                raise ValueError(f"module {module.__name__} states {guarantee.key}, which belongs to another paper")
            if guarantee.key in found:
                raise ValueError(f"guarantee {guarantee.key} is stated twice")
            found[guarantee.key] = guarantee
    return MappingProxyType(found)
