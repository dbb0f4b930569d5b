"""One module a paper: for each guarantee its instances, both sides, its controls and its figure.

A module is found by its name, the key of the paper, and defines `CHECKS`, a tuple of `verify.Check`.
"""
