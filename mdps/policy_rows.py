"""The rows that one policy picks: its own kernel P and reward r, iterated or solved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdps.operators import Work

__all__ = ["PolicyRows", "policy_rows"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DENSE_SOLVE = 200
"""Sparse systems up to this size are solved as dense ones."""
SINGULAR_SWEEPS = 100
"""Sweeps in place of a solution where 1 - g is lost in the rounding of the system."""


@dataclass(frozen=True, eq=False, slots=True)
class PolicyRows:
    """Kernel (S, S), dense or SciPy CSR, and reward (S,) of a policy."""

    kernel: Any
    reward: FloatArray
    compiled: bool

    def iterate(self, v: FloatArray, g: float, sweeps: int, goal: float) -> tuple[FloatArray, float]:
        """Apply v <- r + g P v until the span of the change is at most `goal`, `sweeps` times at most; return it and the last span."""
        if self.compiled:
            from mdps._kernels import evaluate_rows

            v = v.copy()
            k = self.kernel
            return v, evaluate_rows(k.indptr, k.indices, k.data, self.reward, g, v, np.empty_like(v), sweeps, goal)
        span = np.inf
        for _ in range(sweeps):
            new = self.reward + g * (self.kernel @ v)
            change = new - v
            v, span = new, float(change.max() - change.min())
            if span <= goal:
                break
        return v, span

    def solve(self, g: float) -> FloatArray:
        """Solve v = r + g P v by a factorisation, or approach it by sweeps where that is singular in floating point."""
        try:
            return self._factorised(g)
        except (np.linalg.LinAlgError, RuntimeError):  # splu reports a singular factor as a RuntimeError
            return self.iterate(self.reward, g, SINGULAR_SWEEPS, 0.0)[0]

    def _factorised(self, g: float) -> FloatArray:
        size = self.reward.size
        if not isinstance(self.kernel, np.ndarray):
            if size > DENSE_SOLVE:
                from scipy.sparse import identity
                from scipy.sparse.linalg import splu

                system = (identity(size, format="csr") - g * self.kernel).tocsc()
                found: FloatArray = splu(system).solve(self.reward)
                return found
            system = -g * self.kernel.toarray()
        else:
            system = -g * self.kernel
        system.flat[:: size + 1] += 1.0
        return np.linalg.solve(system, self.reward)

    def solve_krylov(self, v: FloatArray, g: float, tolerance: float) -> FloatArray:
        """Solve v = r + g P v by BiCGSTAB, started from `v`; sweeps finish what it leaves."""
        from scipy.sparse.linalg import LinearOperator, bicgstab

        size = self.reward.size
        system = LinearOperator((size, size), matvec=lambda x: x - g * (self.kernel @ x), dtype=np.float64)
        residual = self.reward - (v - g * (self.kernel @ v))
        wanted = 0.01 * tolerance * (1.0 - g) * max(1.0, float(np.abs(self.reward).max()))
        step, _ = bicgstab(system, residual, rtol=0.0, atol=wanted, maxiter=10 * 100)
        better = v + step if np.isfinite(step).all() else v
        return self.iterate(better, g, 2, 0.0)[0]


def policy_rows(work: Work, policy: IntArray) -> PolicyRows:
    """Return the rows of a deterministic policy (S,)."""
    states = np.arange(work.n_states)
    rows = states * work.n_actions + policy
    if work.matrix is not None:
        return PolicyRows(work.matrix[rows], work.reward[states, policy], False)
    if not work.is_large:
        return PolicyRows(work.csr()[rows], work.reward[states, policy], False)
    from scipy import sparse

    from mdps._kernels import gather_rows

    S = work.n_states
    size = int((work.indptr[rows + 1] - work.indptr[rows]).sum())
    ptr, columns = np.empty(S + 1, dtype=work.indptr.dtype), np.empty(size, dtype=work.indices.dtype)
    values, gains = np.empty(size), np.empty(S)
    gather_rows(work.indptr, work.indices, work.data, work.reward, policy, ptr, columns, values, gains)
    kernel = sparse.csr_matrix((S, S))
    kernel.data, kernel.indices, kernel.indptr = values, columns, ptr
    return PolicyRows(kernel, gains, True)
