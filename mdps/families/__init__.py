"""Families of instances whose exact figures are known.

| builder | what it is | known exactly |
|---|---|---|
| `garnet` | random kernel with a fixed number of successors | shape and sparsity |
| `river_swim` | swim against the current | gain, span and diameter, with span = gain * diameter |
| `gridworld` | grid with slips and one absorbing goal | values without slip |
| `forest` | grow or cut, with fires | gain and values of always growing |
| `two_loops` | two loops of equal reward | gain 1; every span in [0, 1] solves the optimality equation |
| `hard_mixture` | the lower-bound instance of linear mixtures | gain, span and diameter |
| `gamble` | win or lose, then wait | gain 1/2 and any span asked for |
| `random_linear` | random linear MDP | a linear model by construction |
| `simulated_linear_mdp` | five states, sixteen actions | values of the two candidate policies |
| `american_put` | an option on a recombining lattice | the price |
"""

from __future__ import annotations

from mdps.families.applied import PUT_START, american_put, simulated_linear_mdp
from mdps.families.average import gamble, hard_mixture, two_loops
from mdps.families.classic import forest, gridworld, river_swim
from mdps.families.sampled import garnet, random_linear

__all__ = [
    "PUT_START", "american_put", "forest", "gamble", "garnet", "gridworld", "hard_mixture", "random_linear", "river_swim", "simulated_linear_mdp",
    "two_loops",
]
