"""Hierarchically Robust Representation Learning (Qian, Hu, Li, CVPR 2020), for any training loop of PyTorch.

===================  ==================================================================================================
perturb              moves each image along its loss gradient: the example axis (Theorem 2)
ConceptDistribution  the adversarial distribution q over concepts that weights the losses: the concept axis (Eqs. 5, 6)
project_simplex      the nearest distribution to a vector (Eq. 6)
group_classes        the concept of each class, by WordNet or a CSV (Table 1)
group_wnids          the same for ImageNet's classes by their wnids
theory               the module of Theorem 3: h, beta, c, best_s, regret_bound
extract_features     what a network's last linear layer gets: the features to transfer
svm_score            a linear SVM's accuracy on features, C by cross-validation (Tables 2 to 4)
LinearSVM            its classifier, as an estimator of scikit-learn
===================  ==================================================================================================

Each is imported at its first use; the last two need scikit-learn (``pip install 'hrrl[svm]'``).
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrrl.concepts import group_classes, group_wnids
    from hrrl.methods import theory
    from hrrl.methods.simplex import project_simplex
    from hrrl.objective import ConceptDistribution, perturb
    from hrrl.transfer.extraction import extract_features
    from hrrl.transfer.linear_svm import LinearSVM
    from hrrl.transfer.svm import evaluate as svm_score

__version__ = "1.0.0"
__all__ = [
    "ConceptDistribution",
    "LinearSVM",
    "extract_features",
    "group_classes",
    "group_wnids",
    "perturb",
    "project_simplex",
    "svm_score",
    "theory",
]

_PLACES = {
    "ConceptDistribution": "hrrl.objective:ConceptDistribution",
    "LinearSVM": "hrrl.transfer.linear_svm:LinearSVM",
    "extract_features": "hrrl.transfer.extraction:extract_features",
    "group_classes": "hrrl.concepts:group_classes",
    "group_wnids": "hrrl.concepts:group_wnids",
    "perturb": "hrrl.objective:perturb",
    "project_simplex": "hrrl.methods.simplex:project_simplex",
    "svm_score": "hrrl.transfer.svm:evaluate",
    "theory": "hrrl.methods.theory:",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hrrl' has no attribute {name!r}")
    try:
        globals()[name] = value = resolve_name(_PLACES[name])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("sklearn", "threadpoolctl"):
            raise
        raise ImportError(f"hrrl.{name} needs {missing}: pip install 'hrrl[svm]'") from error
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
