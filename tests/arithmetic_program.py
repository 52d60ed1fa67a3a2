# ruff: noqa: E402 (the arithmetic is set before what has any is imported)
"""Prints the hash of what each kind of computation gives in portable arithmetic; test_arithmetic runs it on CPUs."""

import io
import sys

from hrrl import arithmetic

arithmetic.use_portable()

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from hrrl import methods
from hrrl.data.decode import decode, resize
from hrrl.fast.convolution import speed_up
from hrrl.methods import theory
from hrrl.methods.simplex import project_simplex
from hrrl.report import statistics
from hrrl.train import models, runtime
from hrrl.transfer import svm
from hrrl.transfer.extraction import extract_features

OFF = dict.fromkeys(("compile", "sync_batchnorm", "tf32", "cudnn_benchmark"), False)
ON = {"arithmetic": "portable", "device": "auto", "precision": "float32", "channels_last": True, "fast": True}
COMPUTE = runtime.Compute(**ON, **OFF, threads=1)
CONCEPTS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """(200, 3, 20, 20) uint8 digits, enlarged, and their labels."""
    digits = load_digits()
    small = torch.from_numpy(np.round(digits.images[:200] * 255 / 16).astype(np.uint8))
    return resize(small[:, None].expand(-1, 3, -1, -1), 20, 20), torch.from_numpy(digits.target[:200])


def network() -> models.Classifier:
    """Each kind of layer that a ResNet has; timm's take half a minute to import where a CPU is emulated."""
    torch.manual_seed(0)
    widths = 3, 16, 24, 32, 32  # on images of 20, 10, 5 and 3 pixels
    layers = [
        nn.Sequential(nn.Conv2d(*pair, 3, 2 if i else 1, 1, bias=False), nn.BatchNorm2d(pair[1]), nn.ReLU())
        for i, pair in enumerate(pairwise(widths))
    ]
    layers[0].append(nn.MaxPool2d(3, 1, 1))
    return models.Classifier(speed_up(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))))


def point(axis: str, name: str) -> dict:
    """A point with its defaults, and small numbers where there are none; of several steps two, which take time."""
    arguments = methods.arguments(axis, name)
    needed = [argument.name for argument in arguments if argument.default is argument.empty]
    return {name: dict.fromkeys(needed, 0.3) | {a.name: 2 for a in arguments if a.name == "steps"}}


def steps(here, x, y, example=None, concept=None) -> list:
    """Two steps of Algorithm 1: parameters, losses and q afterwards."""
    torch.manual_seed(1)
    model, concepts = here.to_device(network()), CONCEPTS[y]
    move = methods.example_axis(example)
    weighting = methods.concept_axis(concept, torch.bincount(concepts))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)
    for rows in (slice(0, 12), slice(12, 24)):
        losses = F.cross_entropy(model(move(model, x[rows], y[rows])), y[rows], reduction="none")
        weights = weighting.weights(concepts[rows], losses.detach()).to(losses.dtype)
        optimizer.zero_grad()
        (weights * losses).mean().backward()
        optimizer.step()
        weighting.update(losses.detach(), concepts[rows])
    return [*model.state_dict().values(), losses.detach(), weighting.q]


def classifier(x: np.ndarray, y: np.ndarray) -> list:
    score = svm.evaluate(x[:150], y[:150], x[150:], y[150:], folds=3, max_iter=10_000)
    (fit,) = svm.fit(x, y, [0.1])
    return [score.hits, fit.coef, fit.intercept]


def numbers() -> list:
    """Statistics and theory on numbers that are the same everywhere."""
    values = np.random.default_rng(0).normal(size=40)
    s = np.arange(2, 2000)
    error = statistics.image_error(values / len(values))
    interval = [*statistics.over_seeds(values), *statistics.over_images(0.1, error), statistics.p_value(values)]
    return [np.array(interval), theory.h(s, 50.0), np.exp(values), np.log1p(np.abs(values)), np.power(2.0, values)]


def figure() -> bytes:
    made, file = Figure(figsize=(4, 3)), io.BytesIO()
    axis = made.subplots()
    s = np.geomspace(2, 20_000, 300)
    axis.semilogx(s, theory.h(s, 50.0))
    axis.set_title("h(s), μ = 50")
    made.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def decoded(folder: Path) -> list:
    """Of the files that the caller encoded."""
    files = {file.suffix: file.read_bytes() for file in sorted(folder.iterdir())}
    return [decode(data) for data in files.values()] + [resize(decode(files[".jpg"])[None], 21, 34)]


def digest(*parts) -> str:
    found = hashlib.sha256()
    for part in parts:
        part = part.detach().numpy() if isinstance(part, torch.Tensor) else part
        found.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def main(folder: str) -> None:
    pixels, y = images()
    found = {"resized": digest(pixels), "decoded": digest(*decoded(Path(folder)))}
    with runtime.start(COMPUTE) as here:
        x = here.images(pixels)
        found["erm"] = digest(*steps(here, x, y))
        for axis in methods.AXES:
            for name in methods.names(axis):
                found[f"{axis} {name}"] = digest(*steps(here, x, y, **{axis: point(axis, name)}))
        features, labels = extract_features(here.to_device(network()), [(x, y)])
    found |= {"features": digest(features), "svm": digest(*classifier(features, labels))}
    v = torch.from_numpy(np.random.default_rng(1).normal(size=50))
    found |= {"simplex": digest(project_simplex(v)), "numbers": digest(*numbers()), "figure": digest(figure())}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
