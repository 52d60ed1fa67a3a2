"""The method of the paper in one place: how images are moved (Theorem 2) and how concepts are weighted (Eqs. 5, 6).

The two are points of the two axes (hrrl/axes.py), in files of their own as every other method is.
"""

from hrrl.axes import Perturbation, Weighting
from hrrl.input_gradient import input_gradient, normalised
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.example.gradient import Gradient, perturb

__all__ = ["ConceptDistribution", "Gradient", "Perturbation", "Weighting", "input_gradient", "normalised", "perturb"]
