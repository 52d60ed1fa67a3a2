"""The panels of the gallery. Each returns plain values with the sheets that it has written, for the report to show."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hrrl.data.loading import Source
from hrrl.gallery.sheets import evenly, pixels, some, spread, write_sheet
from hrrl.methods.interfaces import Perturbation
from hrrl.train.evaluation import GroupedData
from hrrl.train.models import Classifier
from hrrl.train.runtime import Runtime

PER_SHEET = 8  # images of a concept or a target
CONCEPTS = 24  # most that are shown
EXAMPLES = 4  # images that are moved
TAUS = 4  # most step lengths of the paper's perturbation
QUERIES, NEIGHBOURS = 3, 4  # per target
CANDIDATES = 64  # images of a concept, among which those with the largest loss are shown
WRM_GAMMA = 3.0  # where no variant says


def concepts(folder: Path, task: GroupedData, seed: int) -> list[dict]:
    """Validation images of each concept, over its classes: name, classes, picture."""
    random, panels, (train, test) = np.random.default_rng(seed), [], _cells(task)
    cells = np.union1d(train, test).tolist()
    for k, name in enumerate(task.names[:CONCEPTS]):
        members = [cell for cell in cells if cell % len(task.names) == k]
        chosen = spread(random, test, some(random, members, PER_SHEET), PER_SHEET)
        if len(chosen):
            classes = [task.test.classes[cell // len(task.names)] for cell in members]
            picture = _sheet(folder, f"concept-{k}", task.test, chosen, f"Images of the concept {name}: ")
            panels.append({"name": name, "classes": classes, "picture": picture})
    return panels


def datasets(folder: Path, benchmark: Source, targets: dict[str, Source], seed: int) -> list[dict]:
    """The benchmark and each target, one image per class: name, classes, those of the benchmark among them, picture.

    Classes that a target shares with the benchmark's sheet come first, so that they can be compared.

    Args:
        benchmark: source of its validation images.
        targets: name -> source of its test images.
    """
    random, panels = np.random.default_rng(seed), []
    sheet_classes: list[str] = []  # of the benchmark's sheet
    for i, (name, source) in enumerate({"": benchmark, **targets}.items()):
        common = [c for c in sheet_classes if c in source.classes]
        more = some(random, [c for c in source.classes if c not in common], PER_SHEET - len(common))
        classes = [source.classes.index(c) for c in common + more]
        sheet_classes = sheet_classes or [source.classes[c] for c in classes]
        chosen = spread(random, source.labels.numpy(), classes, PER_SHEET)
        shared = [c for c in source.classes if c in benchmark.classes]
        picture = _sheet(folder, f"dataset-{i}", source, chosen, "Images of ")
        panels.append({"name": name, "classes": source.classes, "shared": shared, "picture": picture})
    return panels


def points(variants: dict[str, dict], headline: str) -> list[dict]:
    """The points of the example axis to show, as {method: settings}.

    The paper's perturbation with the taus in use, then what else the variants use, and PGD, WRM and noise where no
    variant does, of the size of the headline variant's tau (the middle one in use, where it has none).
    """
    used: list[dict] = []
    for spec in variants.values():
        used += [spec["example"]] if spec["example"] and spec["example"] not in used else []
    taus = sorted({point["gradient"]["tau"] for point in used if "gradient" in point} - {0.0}) or [0.5]
    size = (variants[headline]["example"] or {}).get("gradient", {}).get("tau") or taus[len(taus) // 2]
    others = [point for point in used if "gradient" not in point]
    defaults = {"pgd": {"eps": size, "steps": 3}, "wrm": {"gamma": WRM_GAMMA, "steps": 15}, "noise": {"tau": size}}
    used_methods = {name for point in others for name in point}
    others += [{name: settings} for name, settings in defaults.items() if name not in used_methods]
    return [{"gradient": {"tau": tau}} for tau in evenly(taus, TAUS)] + others


def moves(
    folder: Path, model: Classifier, task: GroupedData, runtime: Runtime, points: list[tuple], seed: int
) -> list[dict]:
    """What each perturbation does to a few validation images: the model moves its own images, as in Fig. 4.

    Args:
        points: (point as :func:`points` gives it, its :class:`hrrl.methods.interfaces.Perturbation`) pairs.
    Returns:
        Per image its class and rows: point (None: the image as it is), sheet of the moved image and its difference,
        ``amplified`` (factor of the difference; grey is none), ``length`` (L2, pixel units), and the model's
        prediction, its probability and the loss of the true class.
    """
    random, cells = np.random.default_rng(seed), _cells(task)[1]
    by_concept: dict[int, list[int]] = {}  # concept -> its cells
    for cell in np.unique(cells).tolist():
        by_concept.setdefault(cell % len(task.names), []).append(cell)
    drawn = [int(random.choice(members)) for members in some(random, list(by_concept.values()), EXAMPLES)]
    chosen = spread(random, cells, drawn, EXAMPLES)
    runtime.to_device(model).eval()
    x, y = runtime.images(pixels(task.test, chosen)), task.test.labels[chosen].to(runtime.device)
    images = [{"class": task.test.classes[c], "rows": []} for c in y.tolist()]
    for p, (point, perturbation) in enumerate([(None, Perturbation()), *points]):
        torch.manual_seed(seed)
        with runtime.autocast():
            moved = perturbation(model, x, y).float()
        for i, (image, output) in enumerate(zip(images, _outputs(model, runtime, moved, y), strict=True)):
            difference = (moved[i] - x[i]).cpu()
            factor = _amplification(difference)
            tiles = [moved[i].cpu(), 0.5 + factor * difference][: 1 if point is None else 2]
            description = "as it is" if point is None else "moved, and the difference"
            sheet = write_sheet(folder, f"move-{i}-{p}", torch.stack(tiles), f"{image['class']}, {description}")
            row = {"point": point, "picture": sheet, "amplified": factor, "length": float(difference.norm())}
            image["rows"].append(row | output | {"prediction": task.test.classes[output["prediction"]]})
    return images


@torch.no_grad()
def _outputs(model: Classifier, runtime: Runtime, x: torch.Tensor, y: torch.Tensor) -> list[dict]:
    """Per image prediction (class), probability (of the prediction) and loss (of y)."""
    with runtime.autocast():
        logits = model(x).float()
    probability, prediction = logits.softmax(1).max(1)
    columns = prediction.tolist(), probability.tolist(), F.cross_entropy(logits, y, reduction="none").tolist()
    return [{"prediction": c, "probability": p, "loss": v} for c, p, v in zip(*columns, strict=True)]


def _amplification(difference: torch.Tensor) -> float:
    """A round factor with which nearly all of a difference fills the range around grey."""
    largest = float(torch.quantile(difference.abs().flatten(), 0.99))
    if largest == 0:
        return 1.0
    factor, power = 0.5 / largest, 10 ** np.floor(np.log10(0.5 / largest))
    return float(max(step for step in (1, 2, 5) if step * power <= factor) * power)


def weights(
    folder: Path, model: Classifier, task: GroupedData, runtime: Runtime, q: dict[str, float], seed: int
) -> dict:
    """The concepts by the weight of their images, N/N_k q_k, with images of the first and the last.

    Args:
        model: the one whose training made q.
        q: concept -> q after the last epoch.
    Returns:
        ``concepts``: name, q, share and weight, heaviest first; ``most`` and ``least``: name, picture, and the mean
        loss of all images that were looked at. The images are those with the largest loss among CANDIDATES.
    """
    random, image_concepts = np.random.default_rng(seed), task.test_concepts.numpy()
    share = (task.counts.double() / task.counts.sum()).tolist()
    rows = [{"name": n, "q": q[n], "share": s, "weight": q[n] / s} for n, s in zip(task.names, share, strict=True)]
    rows = sorted(rows, key=lambda row: -row["weight"])
    panel: dict[str, Any] = {"concepts": rows}
    with_images = [name for row in rows if task.names.index(name := row["name"]) in image_concepts]
    runtime.to_device(model).eval()
    for key, name in (("most", with_images[0]), ("least", with_images[-1])):
        drawn = random.permutation(np.flatnonzero(image_concepts == task.names.index(name)))[:CANDIDATES]
        x, y = runtime.images(pixels(task.test, drawn)), task.test.labels[drawn].to(runtime.device)
        losses = np.array([output["loss"] for output in _outputs(model, runtime, x, y)])
        worst = drawn[np.argsort(-losses, kind="stable")[:PER_SHEET]]
        picture = _sheet(folder, f"weight-{key}", task.test, worst, f"Images of the concept {name}: ")
        panel[key] = {"name": name, "loss": float(losses.mean()), "candidates": len(drawn), "picture": picture}
    return panel


def neighbours(folder: Path, targets: dict, features: dict[str, dict], seed: int) -> list[dict]:
    """The training images nearest to a few test images of each target, by each model's features.

    Nearness is Euclidean after each feature is standardised over the training part: what the linear SVM gets.

    Args:
        targets: name -> (source of its training images, of its test images).
        features: model -> target -> mapping with train_x (n, d) and test_x, in the sources' order.
    Returns:
        Per target its name and queries: class, picture, and per model the neighbours' classes and picture.
    """
    random, panels = np.random.default_rng(seed), []
    for t, (target, (train, test)) in enumerate(targets.items()):
        classes = some(random, list(range(len(test.classes))), QUERIES)
        chosen = spread(random, test.labels.numpy(), classes, QUERIES)
        queries: list[dict[str, Any]] = []
        for n, i in enumerate(chosen):
            picture = _sheet(folder, f"query-{t}-{n}", test, [i], "Test image: ")
            queries.append({"class": test.classes[int(test.labels[i])], "picture": picture, "models": {}})
        for m, (name, by_target) in enumerate(features.items()):
            positions = _nearest(by_target[target]["train_x"], by_target[target]["test_x"][chosen], NEIGHBOURS)
            for n, (query, nearest) in enumerate(zip(queries, positions, strict=True)):
                picture = _sheet(folder, f"near-{t}-{n}-{m}", train, nearest, "Nearest training images: ")
                names = [train.classes[c] for c in train.labels[nearest].tolist()]
                query["models"][name] = {"classes": names, "picture": picture}
        panels.append({"target": target, "queries": queries})
    return panels


def _nearest(train: np.ndarray, queries: np.ndarray, n: int) -> np.ndarray:
    """(len(queries), n) positions of the nearest rows of ``train``, nearest first."""
    mean, std = train.mean(0), train.std(0)
    std[std == 0] = 1
    train, queries = (train - mean) / std, (queries - mean) / std
    distance = (train**2).sum(1) - 2 * queries @ train.T
    return np.argsort(distance, axis=1, kind="stable")[:, :n]


def _cells(task: GroupedData) -> list[np.ndarray]:
    """Class and concept of each training and each validation image as one number, class * K + concept."""
    pairs = ((task.train.labels, task.train_concepts), (task.test.labels, task.test_concepts))
    return [(labels * len(task.names) + concepts).numpy() for labels, concepts in pairs]


def _sheet(folder: Path, name: str, source: Source, indices: Any, text: str) -> dict:
    """A sheet with images of a source; ``text`` is its alternative text, followed by their classes."""
    classes = ", ".join(source.classes[c] for c in source.labels[indices].tolist())
    return write_sheet(folder, name, pixels(source, indices).float() / 255, text + classes)
