"""What a report is made of: the results of every stage as tidy frames, and how variants are called in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

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

CONCEPT_TITLES = {"concept": "Concept", "classes": "Classes", "of": "Of", "images": "Training images"}


@dataclass
class Results:
    """The results of all stages. Accuracies and errors are in percent.

    A frame has the columns that its type names, among others; one that is left out is empty.

    Args:
        name, benchmark, targets, claims: as in params.yaml.
        headline: the variant whose scores stand in headline.json.
        variants: name -> {"example": {method: settings} or None, "concept": ...}, in params.yaml's order.
        compared: the variants with SVM scores; the first is the baseline.
        target_kinds: target -> the kind of its dataset; targets with a kind in PAPER have the paper's numbers
            beside them, so only official data may be given such a kind.
        shifts: target -> what differs on it from the benchmark: "none", "images", "concepts" or "both".
        correct, finetune_correct: (target, variant, seed) -> (n,) floats, for each test image the share of draws in
            which the SVM is right; whether the network is, after the last step of fine-tuning.
        moved_correct: (variant, seed) -> step size -> (n,) whether each of the benchmark's validation images is
            classified right after a step of that size against the model; 0 is among them.
        validation_concepts: (n,) integers, the concept of each of these images.
        svm: one row for each draw of the target's training part: accuracy on the test part, cross-validated accuracy
            of the C chosen on the training part, whether that is at the edge of its grid, whether the fit converged.
        history: also per concept ``q_<concept>``, ``accuracy_<concept>`` and ``loss_<concept>`` (validation images).
        finetune: one row per evaluated step.
        robustness, concept_accuracy: on the validation images, after a step of ``step_size`` (Fig. 4); on the clean
            ones of one concept (Fig. 5).
        smoothness: per image the norm of the loss gradient in x, and a lower bound of L_x (Theorems 1 and 2).
        variances: of each concept's term of q's gradient, in multiples of what images of the concept alone would have
            (Section 3.3).
        curves, maxima: h(s) for several mu and for the one of each variant, whose name they have; and where each of the
            first is largest (Fig. 2).
        suggestions: mu, the largest norm of q's gradient in the first ``batches`` steps and in the whole run, over the
            seeds; the s and c that Theorem 3 suggests for the first (none where no slow start pays), those in use, and
            the mu that these imply.
        regret: q's mean regret and its bound, for c in use and for c = 1 (s = 0) on the same losses.
        table1: classes per concept of ILSVRC12 beside the paper's counts.
        concepts: classes, training images and their share q0 per concept of the benchmark; also ``of`` how many classes
            where a file gives the concepts of images: a class may be in several.
        target_concepts: shares of each target's training images; of "unknown" where a class has no WordNet concept.
        search: one row per tau, lam (NaN: without that axis) and tuning seed: accuracy on the benchmark's validation
            images, and per target ``accuracy_<target>``, cross-validated on its training part.
        search_steps, search_concepts: of the same models, as ``robustness`` and ``concept_accuracy``.
        members: per dataset ("benchmark", "ilsvrc12") and concept its classes in words and WordNet's way to one.
        gallery: the folder with gallery.json and its pictures.
        recorded: the runs.csv of a run whose other results are gone, in place of the results it is computed from.
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
    svm: Annotated[pd.DataFrame, "target variant seed draw accuracy validation C edge converged"] = None
    history: Annotated[pd.DataFrame, "variant seed epoch train_loss val_accuracy"] = None
    finetune: Annotated[pd.DataFrame, "target variant seed step train_loss test_error"] = None
    robustness: Annotated[pd.DataFrame, "variant seed step_size accuracy"] = None
    concept_accuracy: Annotated[pd.DataFrame, "variant seed concept accuracy"] = None
    smoothness: Annotated[pd.DataFrame, "variant seed gradient L"] = None
    variances: Annotated[pd.DataFrame, "variant seed concept factor"] = None
    curves: Annotated[pd.DataFrame, "variant mu lam s h"] = None
    maxima: Annotated[pd.DataFrame, "mu s h c"] = None
    suggestions: Annotated[pd.DataFrame, "variant lam mu mu_run batches suggested_s suggested_c s c implied_mu"] = None
    regret: Annotated[pd.DataFrame, "variant seed c s steps regret bound"] = None
    table1: Annotated[pd.DataFrame, "concept classes paper"] = None
    concepts: Annotated[pd.DataFrame, "concept classes images q0"] = None
    target_concepts: Annotated[pd.DataFrame, "target concept share"] = None
    search: Annotated[pd.DataFrame, "tau lam seed benchmark"] = None
    search_steps: Annotated[pd.DataFrame, "tau lam seed step_size accuracy"] = None
    search_concepts: Annotated[pd.DataFrame, "tau lam seed concept accuracy"] = None
    members: Annotated[pd.DataFrame, "dataset concept classes example way"] = None
    gallery: Path | None = None
    recorded: pd.DataFrame | None = None
    image_errors: dict[tuple, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = {f.name: get_args(f.type)[1].split() for f in fields(self) if get_origin(f.type) is Annotated}
        for name, columns in frames.items():
            frame = getattr(self, name)
            if frame is None:
                setattr(self, name, pd.DataFrame(columns=columns))
            elif missing := [column for column in columns if column not in frame]:
                raise ValueError(f"{name}: columns {', '.join(missing)} are missing; it has {', '.join(frame)}")
        self.labels = labels(self.variants)
        by_model = self.svm.groupby(["target", "variant", "seed"], sort=False, as_index=False)
        self.scores = by_model[["accuracy", "validation"]].mean()

    @cached_property
    def values(self) -> pd.DataFrame:
        """Every number of every run, by :func:`hrrl.report.long_form.long_form`; what was recorded, where it was."""
        return long_form(self) if self.recorded is None else derived(self.recorded, self)

    def runs(self, measure: str, target: str | None = None) -> pd.DataFrame:
        """A measure of :attr:`values` by seed, a column for each variant and point of the search that has it."""
        rows = self.values[(self.values.measure == measure) & (self.values.target == (target or ""))]
        names = self.in_order(rows.variant) + [name for name in rows.variant.unique() if name not in self.variants]
        table = rows.pivot(index="seed", columns="variant", values="value")
        return table.reindex(index=rows.seed.unique(), columns=names).astype(float)

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


def label(spec: dict) -> str:
    """How the paper would call a variant: "ERM", "EL (τ=0.5)", "HRRL (τ=0.5, λ=1)", "PGD (ε=1, 3 steps)"."""
    parts = []
    for axis in methods.AXES:
        for name, settings in (spec.get(axis) or {}).items():
            point = methods.find(axis, name)
            shown = {key: value for key, value in (settings or {}).items() if key not in point.minor}
            parts.append((point.label, [text for key in shown if (text := _setting(point, key, shown[key]))]))
    if [name for name, _ in parts] == ["EL", "CL"]:  # the paper's on both axes
        parts = [("HRRL", [text for _, texts in parts for text in texts])]
    return " + ".join(f"{name} ({', '.join(texts)})" if texts else name for name, texts in parts) or "ERM"


def labels(variants: dict[str, dict]) -> dict[str, str]:
    """name -> label; variants that only differ in minor settings get their name added."""
    plain = {name: label(spec) for name, spec in variants.items()}
    shared = {text for text in plain.values() if list(plain.values()).count(text) > 1}
    return {name: f"{text} [{name}]" if text in shared else text for name, text in plain.items()}


def _setting(point: Any, key: str, value: Any) -> str:
    """A setting of a point in a label; nothing where it is off."""
    if value is None or value is False or value == "empirical":
        return ""
    name = key.replace("_", " ")
    if value is True:
        return name
    if key == "steps":
        return f"{value} steps"
    text = f"{value:g}" if isinstance(value, int | float) else value if isinstance(value, str) else "given"
    return f"{point.symbols.get(key, name)}={text}"
