"""The nearest distribution to a vector (Eq. 6): see :mod:`hrrl.methods.simplex`."""

from hrrl.methods.simplex import project_simplex

__all__ = ["project_simplex"]
