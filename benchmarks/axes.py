"""Cost of the two axes: one training step of each variant over one of erm, and over PGD and WRM written plainly."""

import time
from statistics import median
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ROOT
from hrrl import methods
from hrrl.data.augment import Augment
from hrrl.fast.convolution import Conv2d
from hrrl.settings import schema
from hrrl.train import models, recipes, runtime, training

QUICK = schema.load(ROOT / "presets/quick.yaml")
NETS = {  # image size, backbone, its arguments
    "32px": (32, "resnet18", {}),
    "64px": (64, "resnet18", {}),
    "quick": (QUICK.pretrain.image_size, QUICK.pretrain.backbone, QUICK.pretrain.backbone_args),
}
FLOPS_2048 = 2 * 2048**3  # of the matrix product that stands for the machine's peak
BATCH, CONCEPTS, CLASSES, TAU = 128, 11, 1000, 0.5
VARIANTS = {
    "erm": {"example": None, "concept": None},
    "el": {"example": {"gradient": {"tau": TAU}}, "concept": None},
    "cl": {"example": None, "concept": {"hrrl": {"lam": 1.0}}},
    "hrrl": {"example": {"gradient": {"tau": TAU}}, "concept": {"hrrl": {"lam": 1.0}}},
}


def results(rounds: int, small: bool) -> dict:
    """Keys without a suffix are of ResNet-18 at 32 pixels and one thread."""
    values, peak = {}, {}
    for net, threads in (("32px", 1), ("64px", 1), ("quick", 1), ("32px", 2), ("64px", 2)):
        name = net if threads == 1 else f"{net}_{threads}threads"
        ratios, peak[name] = costs(rounds, net, threads, attacks=name == "32px")
        values |= {key if name == "32px" else f"{key}_{name}": ratio for key, ratio in ratios.items()}
    return {"values": values, "peak": peak}


def compute(threads: int | None = None, **changes):
    """The settings of ``compute`` at their fastest, in one thread. ``threads`` for the whole machine."""
    settings = QUICK.compute
    fastest = {"arithmetic": "native", "precision": "bfloat16", "threads": threads or settings.threads}
    return settings.model_copy(update=fastest | changes)


def seconds(function, least: float = 0.0) -> float:
    """Mean time of a call, over at least one call and ``least`` seconds."""
    start, calls = time.perf_counter(), 0
    while calls < 1 or time.perf_counter() - start < least:
        function()
        calls += 1
    return (time.perf_counter() - start) / calls


def plain_gradient(model, x, y):
    """The input gradient as anyone would write it."""
    x = x.detach().requires_grad_()
    model.eval()
    gradient = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]
    model.train()
    return gradient


def pgd3(model, x, y):
    """Madry et al. 2018, L2, 3 steps of 2/3 eps."""
    moved = x
    for _ in range(3):
        g = plain_gradient(model, moved, y)
        moved = moved + 2 / 3 * TAU * g / g.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        moved = x + (moved - x).flatten(1).renorm(2, 0, TAU).view_as(x)
    return moved.detach()


def wrm15(model, x, y, gamma=2.0):
    """Sinha et al. 2018, 15 ascent steps on l(x) - gamma/2 ||x - x0||^2."""
    moved = x
    for t in range(1, 16):
        moved = moved + (plain_gradient(model, moved, y) - gamma * (moved - x)) / (gamma * t**0.5)
    return moved.detach()


class ByClass(training.Training):
    """A run whose steps look up the concepts of classes."""

    def step(self, net, x, y, m):
        return super().step(net, x, y, self.task.concepts[y], m)


def stepper(net: tuple[str, dict], concepts: torch.Tensor, variant, here: runtime.Runtime, lr=1e-3, decay=1e-4):
    """The pipeline's training of a new ``model``, without data: ``step(model, x, y, m)`` is an iteration.

    Args:
        net: the backbone and its arguments.
        concepts: (C,) those of the classes.
    """
    torch.manual_seed(0)
    backbone, arguments = net
    model = models.build(backbone, len(concepts), arguments).train()
    sgd = {"lr": lr, "momentum": 0.9, "weight_decay": decay}
    plain = Augment(crop="none", flip=False)
    schedule = recipes.Schedule(epochs=1, milestones=[], batch_size=1, augment=plain, **sgd)
    task = SimpleNamespace(concepts=concepts.to(here.device), train=SimpleNamespace(steps=lambda batch_size: 1))
    return ByClass(model, task, variant, schedule, here, 0, "benchmark")


def step(net: str, method, here: runtime.Runtime):
    """One step of hrrl's training loop on a fixed batch of random images, as a function without arguments."""
    size, *of = NETS[net]
    run = stepper(of, torch.arange(CLASSES) % CONCEPTS, method, here)
    images = torch.randint(256, (BATCH, 3, size, size), dtype=torch.uint8)
    x, y = here.images(images), torch.randint(CLASSES, (BATCH,))
    return lambda: run.step(run.model, x, y, BATCH)


def plain_net(backbone: str, classes: int, arguments: dict) -> torch.nn.Module:
    """The same classifier with PyTorch's own convolutions."""
    torch.manual_seed(0)
    model = models.build(backbone, classes, arguments)
    for module in model.modules():
        if type(module) is Conv2d:
            module.__class__ = torch.nn.Conv2d
    return model


def plain_step(net: str, attack):
    """One step of adversarial training in plain PyTorch: float32, contiguous."""
    size, backbone, arguments = NETS[net]
    model = plain_net(backbone, CLASSES, arguments).train()
    x, y = torch.rand(BATCH, 3, size, size), torch.randint(CLASSES, (BATCH,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def run():
        moved = attack(model, x, y)
        optimizer.zero_grad()
        F.cross_entropy(model(moved), y).backward()
        optimizer.step()

    return run


def method(spec: dict, concepts: int = CONCEPTS) -> training.Axes:
    counts = torch.full((concepts,), 100)
    return training.Axes(methods.example_axis(spec["example"]), methods.concept_axis(spec["concept"], counts))


def costs(rounds: int, net: str, threads: int | None = None, attacks: bool = False) -> tuple[dict, dict]:
    """Ratios of step times, one per round; and the fraction of the matrix-multiply peak that erm and el reach."""
    with runtime.start(compute(threads)) as here:
        runs = {name: step(net, method(spec), here) for name, spec in VARIANTS.items()}
        flops = _flops(net)
        if attacks:
            for name, attack in (("pgd3", pgd3), ("wrm15", wrm15)):
                plain = training.Axes(attack, method(VARIANTS["erm"]).concept)
                runs[f"{name}_same_precision"] = step(net, plain, here)
                runs[name] = plain_step(net, attack)
        a, b = torch.rand(2, 2048, 2048, dtype=here.precision)
        runs["peak"] = lambda: a @ b
        for run in runs.values():
            run()
        times = [{name: seconds(run, 1.0) for name, run in runs.items()} for _ in range(rounds)]
    ratios = {f"{name}_over_erm": [t[name] / t["erm"] for t in times] for name in ("cl", "el", "hrrl")}
    ratios |= {f"{name}_over_el": [t[name] / t["el"] for t in times] for name in runs if name[:3] in ("pgd", "wrm")}
    peak = {
        name: round(median(flops[name] / t[name] * t["peak"] / FLOPS_2048 for t in times), 3) for name in ("erm", "el")
    }
    return ratios, peak | {"gflops": round(median(FLOPS_2048 / t["peak"] / 1e9 for t in times), 1)}


def _flops(net: str) -> dict:
    """Operations of the convolutions and matrix products as the plain layers count them, padding included."""
    size, backbone, arguments = NETS[net]
    with FlopCounterMode(display=False) as step:
        plain_step(net, lambda model, x, y: x)()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        plain_net(backbone, CLASSES, arguments)(torch.rand(BATCH, 3, size, size))
    # The input gradient of a layer is as many operations as the layer.
    return {"erm": step.get_total_flops(), "el": step.get_total_flops() + 2 * forward.get_total_flops()}
