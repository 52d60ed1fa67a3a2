"""The method of the paper in one place: how images are moved (Theorem 2) and how concepts are weighted (Eqs. 5, 6).

The two are points of the two axes (hrrl/methods/interfaces.py), in files of their own as every other method is.
"""

from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.example.gradient import Gradient, perturb
from hrrl.methods.input_gradient import input_gradient, normalised
from hrrl.methods.interfaces import GroupWeighting, Perturbation

__all__ = [
    "ConceptDistribution",
    "Gradient",
    "GroupWeighting",
    "Perturbation",
    "input_gradient",
    "normalised",
    "perturb",
]
