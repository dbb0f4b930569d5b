"""The one place where kernels are compiled.

`compiled` is Numba's `njit` with a disk cache whose directory is named by a hash of the sources of all four packages: Numba's own
cache does not notice an edit in another module, so a cached caller could return the result of a helper that no longer exists.
Import this module only from kernel modules, and those only inside functions: importing Numba costs a quarter of a second.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import numba
from numba import config

__all__ = ["FAST_SUMS", "cache_root", "compiled", "source_hash"]

F = TypeVar("F", bound=Callable[..., Any])

FAST_SUMS = frozenset({"reassoc", "contract", "nsz"})
"""Flags that let a sum be vectorised without assuming that every value is finite."""

_PACKAGES = ("theory", "mdps", "certify", "verify")


@cache
def source_hash() -> str:
    """Return a hash of every source file of the four packages, 16 hexadecimal digits."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Return the folder of everything that can be computed again: `$LEMMATA_CACHE`, or `lemmata` in the user's cache folder."""
    given = os.environ.get("LEMMATA_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lemmata"


@overload
def compiled(function: F, /) -> F: ...


@overload
def compiled(*, parallel: bool = False, inline: bool = False, fast_sums: bool = False) -> Callable[[F], F]: ...


def compiled(function: F | None = None, /, *, parallel: bool = False, inline: bool = False, fast_sums: bool = False) -> Any:
    """Compile a kernel on its first call, cached on disk under a key that changes with every edit.

    Parameters
    ----------
    function : callable
        A small plain function; it stays reachable as `.py_func`.
    parallel : bool
        Compile `prange` loops for several threads.  Write each result to its own place: no reductions across threads.
    inline : bool
        Ask the compiler to inline the function into its callers.
    fast_sums : bool
        Allow sums to be reordered (`FAST_SUMS`); never where bytes must be reproducible across machines.

    Returns
    -------
    callable
        The compiled function.
    """

    def build(plain: F) -> F:
        options: dict[str, Any] = {"nogil": True, "cache": True, "parallel": parallel, "error_model": "numpy"}
        if inline:
            options["inline"] = "always"
        if fast_sums:
            options["fastmath"] = set(FAST_SUMS)
        previous = config.CACHE_DIR
        config.CACHE_DIR = str(cache_root() / f"numba-{source_hash()}")
        try:
            result: F = numba.njit(**options)(plain)
        finally:
            config.CACHE_DIR = previous
        return result

    return build(function) if function is not None else build
