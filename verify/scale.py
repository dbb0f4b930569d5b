"""Checks on a Dask cluster: the same functions and seeds as on one machine, hence the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["run_on_dask"]


def run_on_dask(task: Callable[[str, str, int], Any], keys: list[str], budget: str, seed: int, address: str) -> Iterator[Any]:
    """Run `task(key, budget, seed)` for every key on the workers of a scheduler, yielding results as they finish.

    Parameters
    ----------
    task : callable
        An importable function.
    keys : list of str
        One task each.
    budget, seed
        Passed on.
    address : str
        Address of the scheduler, for instance `tcp://127.0.0.1:8786`.

    Raises
    ------
    ImportError
        Without the extra `[dask]`.
    ValueError
        If the scheduler cannot be reached.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ImportError("dask needs the extra [dask]: pip install 'lemmata[dask]'") from None
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"dask must be the address of a reachable scheduler, got {address!r}: {error}") from None
    with client, client.as_current():
        futures = [client.submit(task, key, budget, seed, pure=False) for key in keys]
        for future in as_completed(futures):
            yield future.result()
