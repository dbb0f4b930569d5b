"""Model files: the project's own archive, explicit files of PRISM and Storm, MDP toolbox arrays and PETSc matrices.

When to switch: the solvers here use one machine and a few threads.  For a model that does not fit one machine's memory, or whose
sweeps take minutes, write it with `write_petsc` and solve it with a distributed inexact policy iteration on PETSc (madupite reads the
two files as transition probabilities and stage costs).  Values that come back can be certified here, on any machine that holds the
model, by one sweep.
"""

from __future__ import annotations

from mdps.formats.archive import load_model, save_model
from mdps.formats.petsc import read_petsc_matrix, write_petsc
from mdps.formats.prism import read_labels, read_prism, to_prism
from mdps.formats.toolbox import from_mdptoolbox, to_mdptoolbox

__all__ = [
    "from_mdptoolbox", "load_model", "read_labels", "read_petsc_matrix", "read_prism", "save_model", "to_mdptoolbox", "to_prism", "write_petsc",
]
