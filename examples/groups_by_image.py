"""Groups that cut across classes, as in Waterbirds: handwritten digits, even or odd, of thin or thick strokes.

`python examples/groups_by_image.py FOLDER` writes scikit-learn's digits to FOLDER/train|val/<even|odd>/*.png, in
training most even ones thick and most odd ones thin, and the group of each to FOLDER/groups.csv; then trains ERM and CL
on these groups. The pipeline does so with `kind: imagefolder, root: FOLDER` as benchmark, `concepts: {csv:
FOLDER/groups.csv}` and any method of the concept axis.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits

import hrrl

CLASSES, STROKES = ("even", "odd"), ("thin", "thick")


def write(folder):
    """The images, and lines of image, concept: four groups, two of them rare in training."""
    images, digits = load_digits(return_X_y=True)
    thick = (images.mean(1) > np.median(images.mean(1))).astype(int)
    usual, lines, rng = thick != digits % 2, [], np.random.default_rng(0)
    for i, pixels in enumerate(images.reshape(-1, 8, 8)):
        path = f"{'train' if i % 3 else 'val'}/{CLASSES[digits[i] % 2]}/{i:04}.png"
        if i % 3 == 0 or usual[i] or rng.random() < 0.1:
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15.9).astype(np.uint8)).save(Path(folder, path))
            lines.append((path, f"{CLASSES[digits[i] % 2]} {STROKES[thick[i]]}"))
    with open(Path(folder, "groups.csv"), "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "concept"), *lines])
    return lines


def main(folder):
    lines = write(folder)
    names = sorted({group for _, group in lines})
    x = torch.stack([torch.from_numpy(np.array(Image.open(Path(folder, path)), np.float32)) for path, _ in lines]) / 255
    k = torch.tensor([names.index(group) for _, group in lines])
    y, train = k // 2, torch.tensor([path.startswith("train") for path, _ in lines])
    for method in ("ERM", "CL"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        q = hrrl.ConceptDistribution(torch.bincount(k[train]), lam=0.3, c=10.0, s=100)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(20):
            for rows in train.nonzero()[:, 0][torch.randperm(int(train.sum()))].split(64):
                losses = F.cross_entropy(net(x[rows]), y[rows], reduction="none")
                weights = q.weights(k[rows]).to(losses) if method == "CL" else 1
                net.zero_grad()
                (weights * losses).mean().backward()
                optimizer.step()
                q.update(losses.detach(), k[rows])
        hits = (net(x).argmax(1) == y)[~train].double()
        print(method, *(f"{name} {100 * hits[k[~train] == i].mean():.1f}" for i, name in enumerate(names)), sep=", ")


if __name__ == "__main__":
    main(*sys.argv[1:])
