"""The method and its measurements written once more, as plainly as they can be, from torch and NumPy alone.

What tests compare the project with. Nothing here may call it: a mistake in both would be none.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from sklearn.datasets import load_digits
from torch import nn

MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


@functools.cache
def digits(split: str, number: int | None, classes=range(10), start=0) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3, 8, 8) images in [0, 1] and (n,) labels: ``number`` of each class, in scikit-learn's order.

    The first two thirds of a class are its training part, the rest its test part.
    """
    images, target = load_digits(return_X_y=True)
    rows, labels = [], []
    for label, digit in enumerate(classes):
        where = [i for i in range(len(target)) if target[i] == digit]
        border = -(-2 * len(where) // 3)
        chosen = (where[:border] if split == "train" else where[border:])[start:][:number]
        rows += chosen
        labels += [label] * len(chosen)
    rows, labels = zip(*sorted(zip(rows, labels, strict=True)), strict=True)
    grey = torch.tensor(np.rint(images[list(rows)] * 255 / 16) / 255, dtype=torch.float32)
    return grey.view(-1, 1, 8, 8).repeat(1, 3, 1, 1), torch.tensor(labels)


class Net(nn.Module):
    """A network behind the input normalisation; its features where it is one of timm's."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((x - MEAN) / STD)

    def features(self, x):
        return self.net.global_pool(self.net.forward_features((x - MEAN) / STD)).flatten(1)


def moved(net: nn.Module, x: torch.Tensor, y: torch.Tensor, step: float) -> torch.Tensor:
    """x + step g / |g| of each image's own loss (Theorem 2), by the network in evaluation mode; x where g is 0.

    Of the sum of the losses, as no image's loss depends on another image in that mode.
    """
    training, x = net.training, x.clone().requires_grad_()
    net.eval()
    (g,) = torch.autograd.grad(F.cross_entropy(net(x), y, reduction="sum"), x)
    net.train(training)
    norm = g.double().flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return torch.where(norm > 0, x + step * g / norm, x).detach().float()


@torch.no_grad()
def measured(net: nn.Module, x: torch.Tensor, y: torch.Tensor, concepts: list[int], names: list[str]) -> dict:
    """Accuracy (%) and loss, of all images and of those of each concept; ``concepts`` of the classes."""
    net.eval()
    logits = net(x)
    found = {}
    for k, name in [(None, ""), *enumerate(names)]:
        rows = [i for i in range(len(y)) if k is None or concepts[int(y[i])] == k]
        if rows:
            right = sum(int(logits[i].argmax()) == int(y[i]) for i in rows)
            found[f"accuracy_{name}" if name else "val_accuracy"] = 100 * right / len(rows)
            loss = sum(float(-torch.log_softmax(logits[i].double(), 0)[y[i]]) for i in rows)
            found[f"loss_{name}" if name else "val_loss"] = loss / len(rows)
    return found


def projection(v: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex: the threshold theta at which sum(max(v - theta, 0)) = 1, by a root finder."""
    theta = brentq(lambda theta: np.maximum(v - theta, 0).sum() - 1, v.min() - 1, v.max(), xtol=1e-15, rtol=1e-15)
    return np.maximum(v - theta, 0)


class Algorithm1:
    """Algorithm 1 with SGD by hand; without ``lam`` nothing is weighted, with ``tau`` 0 nothing is moved."""

    def __init__(
        self, net, counts, concepts, tau=0.0, lam=None, c=1.0, s=0, q0=None, momentum=0.9, decay=0.0, smoothing=0.0
    ):
        self.net, self.concepts, self.tau, self.lam, self.c, self.s = net, concepts, tau, lam, c, s
        self.share = np.array(counts) / sum(counts)
        self.q0 = self.share.copy() if q0 is None else np.array(q0)
        self.q, self.t, self.momentum, self.decay = self.q0.copy(), 0, momentum, decay
        self.velocity, self.smoothing = {}, smoothing
        self.trace = []  # (terms, q, norm of q's gradient) of each step

    def step(self, x: torch.Tensor, y: torch.Tensor, lr: float) -> list[float]:
        """One step; returns the losses of the examples."""
        if self.tau:
            x = moved(self.net, x, y, self.tau)
        self.net.train()
        log_p = torch.log_softmax(self.net(x), 1)
        losses = -(1 - self.smoothing) * log_p[range(len(y)), y] - self.smoothing * log_p.mean(1)
        k = [self.concepts[int(label)] for label in y]
        weights = [1.0 if self.lam is None else self.q[i] / self.share[i] for i in k]
        objective = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / len(y)
        parameters = dict(self.net.named_parameters())
        gradients = torch.autograd.grad(objective, list(parameters.values()))
        with torch.no_grad():
            for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
                direction = gradient + self.decay * value
                before = self.velocity.get(name)
                self.velocity[name] = direction if before is None else self.momentum * before + direction
                value -= lr * self.velocity[name]
        numbers = losses.tolist()
        self.move_q(numbers, k)
        return numbers

    def move_q(self, losses: list[float], concepts: list[int]) -> None:
        """Eq. 6."""
        self.t += 1
        terms = np.zeros(len(self.q))
        for loss, k in zip(losses, concepts, strict=True):
            terms[k] += loss / self.share[k] / len(losses)
        gradient = terms if self.lam is None else terms - self.lam * (self.q - self.q0)
        self.trace.append((terms, self.q.copy(), np.sqrt((gradient**2).sum())))
        if self.lam is not None:
            eta = 1 / (self.c * self.lam * self.t) if self.t <= self.s else 1 / (self.lam * self.t)
            self.q = projection(self.q + eta * gradient)
