"""What a report is made of: the results of every stage as tidy frames, and how variants are called in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrrl import methods
from hrrl.report.long_form import derived, long_form

# Tables 2 to 4: mean and standard deviation of the SVM's accuracy (%) over 3 repeats, by kind of the target.
PAPER = {
    "cifar10": {"erm": (85.77, 0.12), "el": (86.62, 0.18), "cl": (85.64, 0.26), "hrrl": (86.49, 0.19)},
    "sop": {"erm": (73.47, 0.09), "el": (73.48, 0.08), "cl": (74.34, 0.05), "hrrl": (74.23, 0.08)},
    "svhn": {"erm": (63.23, 0.35), "el": (65.01, 0.37), "cl": (65.47, 0.27), "hrrl": (67.33, 0.39)},
}

COLUMNS = {
    "svm": ["target", "variant", "seed", "draw", "accuracy", "validation", "C", "edge", "converged"],
    "history": ["variant", "seed", "epoch", "train_loss", "val_accuracy"],
    "finetune": ["target", "variant", "seed", "step", "train_loss", "test_error"],
    "robustness": ["variant", "seed", "step_size", "accuracy"],
    "concept_accuracy": ["variant", "seed", "concept", "accuracy"],
    "smoothness": ["variant", "seed", "gradient", "L"],
    "variances": ["variant", "seed", "concept", "factor"],
    "curves": ["variant", "mu", "lam", "s", "h"],
    "maxima": ["mu", "s", "h", "c"],
    "suggestions": ["variant", "lam", "mu", "mu_run", "batches", "suggested_s", "suggested_c", "s", "c", "implied_mu"],
    "regret": ["variant", "seed", "c", "s", "steps", "regret", "bound"],
    "table1": ["concept", "classes", "paper"],
    "concepts": ["concept", "classes", "images", "q0"],
    "target_concepts": ["target", "concept", "share"],
    "search": ["tau", "lam", "seed", "benchmark"],
    "search_steps": ["tau", "lam", "seed", "step_size", "accuracy"],
    "members": ["dataset", "concept", "classes", "example", "way"],
    "search_concepts": ["tau", "lam", "seed", "concept", "accuracy"],
}


CONCEPT_TITLES = {"concept": "Concept", "classes": "Classes", "of": "Of", "images": "Training images"}


@dataclass
class Results:
    """The results of all stages. Accuracies and errors are in percent; a frame that is left out is empty.

    Args:
        name, benchmark, targets: as in params.yaml.
        headline: the variant whose scores stand in headline.json.
        variants: name -> {"example": {method: settings} or None, "concept": ...}, in params.yaml's order.
        compared: the variants with SVM scores; the first is the baseline.
        target_kinds: target -> the kind of its dataset; targets with a kind in PAPER have the paper's numbers
            beside them, so only official data may be given such a kind.
        shifts: target -> what differs on it from the benchmark: "none", "images", "concepts" or "both".
        claims: what the run is to decide, as in params.yaml.
        svm: one row per target, variant, seed and draw of the target's training part: accuracy on the test part,
            cross-validated accuracy of the C chosen on the training part, that C, whether it is at the edge of
            its grid, whether the fit converged.
        correct: (target, variant, seed) -> (n,) floats, for each test image the share of draws in which the SVM is
            right.
        finetune_correct: as ``correct``, after the last step of fine-tuning; right or not.
        moved_correct: (variant, seed) -> step size -> (n,) whether each of the benchmark's validation images is
            classified right after a step of that size against the model; 0 is among them.
        validation_concepts: (n,) integers, the concept of each of these images.
        history: one row per variant, seed and epoch; per concept ``q_<concept>``, and ``accuracy_<concept>`` and
            ``loss_<concept>`` on its validation images.
        finetune: one row per target, variant, seed and evaluated step.
        robustness: accuracy on the validation images after a step of ``step_size`` (Fig. 4).
        concept_accuracy: accuracy on the clean validation images of one concept (Fig. 5).
        smoothness: one row per variant, seed and image: the norm of the loss gradient in x, and a lower bound of L_x
            (Theorems 1 and 2).
        variances: of each concept's term of q's gradient, in multiples of what images of the concept alone would have
            (Section 3.3).
        curves, maxima: h(s) for several mu, and where each is largest (Fig. 2); curves also for the mu of each variant
            in ``suggestions``, whose name they have.
        suggestions: per variant mu, the largest norm of q's gradient in the first ``batches`` steps and in the whole
            run, over the seeds; the s and c that Theorem 3 suggests for the first (none where no slow start pays),
            those in use, and the mu that these imply.
        regret: q's mean regret after a number of steps and its bound, for c in use and for c = 1 (s = 0) on the same
            losses.
        table1: classes per concept of ILSVRC12 beside the paper's counts.
        concepts: classes, training images and their share q0 per concept of the benchmark; also ``of`` how many classes
            where a file gives the concepts of images: a class may be in several.
        target_concepts: the share of each target's training images per concept; "unknown" where no WordNet concept
            of a class is known.
        search: one row per tau, lam (NaN: without that axis) and tuning seed: accuracy on the benchmark's validation
            images, and per target ``accuracy_<target>``, cross-validated on its training part.
        search_steps, search_concepts: of the same models, as ``robustness`` and ``concept_accuracy``.
        members: per dataset ("benchmark", "ilsvrc12") and concept its classes in words and WordNet's way to one.
        gallery: the folder with gallery.json and its pictures.
        recorded: the runs.csv of a run whose other results are gone, in the place of all that it follows from.
        image_errors: of such a run: (endpoint, target, better, other) -> standard error of their difference in points
            over test images.
    Attributes:
        labels: variant -> how the paper would call it.
        scores: ``svm`` averaged over draws, which is what is reported: target, variant, seed, accuracy, validation.
    Raises:
        ValueError: a frame lacks a column.
    """

    name: str
    headline: str
    benchmark: str
    targets: list[str]
    variants: dict[str, dict]
    compared: list[str]
    target_kinds: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, str] = field(default_factory=dict)
    claims: list[dict] = field(default_factory=list)
    correct: dict[tuple, np.ndarray] = field(default_factory=dict)
    finetune_correct: dict[tuple, np.ndarray] = field(default_factory=dict)
    moved_correct: dict[tuple, dict[float, np.ndarray]] = field(default_factory=dict)
    validation_concepts: np.ndarray | None = None
    svm: pd.DataFrame = None
    history: pd.DataFrame = None
    finetune: pd.DataFrame = None
    robustness: pd.DataFrame = None
    concept_accuracy: pd.DataFrame = None
    smoothness: pd.DataFrame = None
    variances: pd.DataFrame = None
    curves: pd.DataFrame = None
    maxima: pd.DataFrame = None
    suggestions: pd.DataFrame = None
    regret: pd.DataFrame = None
    table1: pd.DataFrame = None
    concepts: pd.DataFrame = None
    target_concepts: pd.DataFrame = None
    search: pd.DataFrame = None
    search_steps: pd.DataFrame = None
    search_concepts: pd.DataFrame = None
    members: pd.DataFrame = None
    gallery: Path | None = None
    recorded: pd.DataFrame | None = None
    image_errors: dict[tuple, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, columns in COLUMNS.items():
            frame = getattr(self, name)
            if frame is None:
                setattr(self, name, pd.DataFrame(columns=columns))
            elif missing := [column for column in columns if column not in frame]:
                raise ValueError(f"{name}: columns {', '.join(missing)} are missing; it has {', '.join(frame)}")
        self.labels = labels(self.variants)
        self.scores = self.svm.groupby(["target", "variant", "seed"], sort=False, as_index=False)[
            ["accuracy", "validation"]
        ].mean()  # one row per model: the mean over draws

    @cached_property
    def values(self) -> pd.DataFrame:
        """Every number of every run, by :func:`hrrl.report.long_form.long_form`; what was recorded, where it was."""
        return long_form(self) if self.recorded is None else derived(self.recorded, self)

    @property
    def baseline(self) -> str:
        return self.compared[0]

    @property
    def concept_names(self) -> list[str]:
        return list(self.concepts.concept)

    @property
    def classes(self) -> int:
        """How many classes the benchmark has."""
        return int(self.concepts["of"].max() if "of" in self.concepts else self.concepts.classes.sum())

    def in_order(self, names: Iterable[str]) -> list[str]:
        """The variants among ``names``, in the order of params.yaml."""
        names = set(names)
        return [name for name in self.variants if name in names]

    def without(self, axis: str) -> list[str]:
        """The variants that have no point on ``axis`` ("example" or "concept")."""
        return [name for name, spec in self.variants.items() if not spec.get(axis)]

    def adaptive(self) -> list[str]:
        """The variants whose q moves with the losses."""
        weighted = {name: spec["concept"] for name, spec in self.variants.items() if spec.get("concept")}
        return [name for name, point in weighted.items() if methods.find("concept", next(iter(point))).adaptive]

    def paper(self, target: str | None, variant: str) -> tuple[float, float] | None:
        """The paper's mean and standard deviation, where it has this target and variant."""
        return PAPER.get(self.target_kinds.get(target or "", ""), {}).get(variant)


# ----------------------------------------------------------------------------------------- names of variants


def label(spec: dict) -> str:
    """How the paper would call a variant: "ERM", "EL (τ=0.5)", "HRRL (τ=0.5, λ=1)", "PGD (ε=1, 3 steps)"."""
    points = [(methods.find(axis, name), point[name]) for axis, point in _points(spec) for name in point]
    words = [(point.label, _words(point, settings)) for point, settings in points]
    if [name for name, _ in words] == ["EL", "CL"]:  # the paper's on both axes
        words = [("HRRL", [word for _, those in words for word in those])]
    return " + ".join(f"{name} ({', '.join(those)})" if those else name for name, those in words) or "ERM"


def _points(spec: dict) -> list[tuple[str, dict]]:
    return [(axis, spec[axis]) for axis in methods.AXES if spec.get(axis)]


def labels(variants: dict[str, dict]) -> dict[str, str]:
    """name -> label; variants that only differ in minor settings get their name added."""
    plain = {name: label(spec) for name, spec in variants.items()}
    shared = {text for text in plain.values() if list(plain.values()).count(text) > 1}
    return {name: f"{text} [{name}]" if text in shared else text for name, text in plain.items()}


def _words(point: Any, settings: dict[str, Any]) -> list[str]:
    """The settings of a point that its label shows."""
    shown = {key: value for key, value in (settings or {}).items() if key not in point.minor}
    return [word for key, value in shown.items() if (word := _setting(point.symbols.get(key), key, value))]


def _setting(symbol: str | None, key: str, value: Any) -> str:
    if value is None or value is False or value == "empirical":
        return ""
    if value is True:
        return key.replace("_", " ")
    if key == "steps":
        return f"{value} steps"
    text = f"{value:g}" if isinstance(value, int | float) else value if isinstance(value, str) else "given"
    return f"{symbol or key.replace('_', ' ')}={text}"
