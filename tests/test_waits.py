"""A training step reads nothing back: on a GPU, the host would wait there for all that it has asked for."""

import contextlib
import json
from dataclasses import replace
from itertools import zip_longest
from types import SimpleNamespace

import pytest
import torch
from conftest import COMPUTE, SCHEDULE, method, point
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

from benchmarks import gpu
from hrrl import arithmetic, fast, methods
from hrrl.fast.convolution import speed_up
from hrrl.methods.interfaces import GroupWeighting
from hrrl.train import runtime, training
from hrrl.train.models import Classifier

COMBINATIONS = list(zip_longest(*([None, *methods.names(axis)] for axis in methods.AXES)))  # none knows the other
READS = ("aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::masked_select")
TASK = SimpleNamespace(counts=torch.tensor([60, 30, 10]), train=SimpleNamespace(steps=lambda batch_size: 3))
MARKS = torch.stack([torch.arange(8), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])])  # classes and concepts
BATCH = torch.arange(8 * 3 * 16 * 16).view(8, 3, 16, 16).to(torch.uint8), MARKS, 8


class Reading(GroupWeighting):
    """What a method must not do."""

    def update(self, losses, concepts):
        self.t += 1 if float(losses.sum()) else 0


class Meta(runtime.Runtime):
    """A device that has shapes and no values: an error where one is read."""

    def autocast(self):
        return contextlib.nullcontext()  # PyTorch has none for it


class Host(TorchFunctionMode):
    """The functions of torch that took or made a tensor on the host."""

    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if any(tensor.device.type == "cpu" for tensor in tensors([args, list((kwargs or {}).values()), made])):
            self.functions.append(function)
        return made


def tensors(value) -> list[torch.Tensor]:
    if isinstance(value, list | tuple):
        return [tensor for inner in value for tensor in tensors(inner)]
    return [value] if isinstance(value, torch.Tensor) else []


def small_network() -> Classifier:
    """A stem, which is folded for the input gradient, and a convolution of images as small as its kernel."""
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    tiny = nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)
    return Classifier(speed_up(nn.Sequential(*stem, *tiny, nn.Flatten(), nn.Linear(32, 10))))


def stepper(here, chosen):
    """A function that makes a step of Algorithm 1 on a batch; the first one has been made."""
    net = small_network().train()
    run = training.Training(net, TASK, chosen, SCHEDULE, here, 0, "test")
    if here.device.type == "meta":
        run.optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)  # there is no fused one
    [(x, (y, concepts), m)] = here.feed([BATCH])

    def step():
        run.step(net, x, y, concepts, m)
        run.callback.step(y, run.trace, [])

    step()
    return step


def chosen(example, concept) -> training.Axes:
    return method(TASK, example and point("example", example), concept and point("concept", concept))


def on_meta(variant) -> list:
    here = Meta(torch.device("meta"), torch.float32, torch.channels_last, False, False, 0, 1, True)
    with fast.switched(False):  # it asks for autocast's precision
        step = stepper(here, variant)
        with Host() as host:
            step()
    return host.functions


def reads(variant) -> list[str]:
    with runtime.start(COMPUTE) as here:
        step = stepper(here, variant)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            step()
    names = [event.name for event in found.events()]
    assert "aten::convolution" in names
    return [name for name in names if name in READS]


@pytest.mark.parametrize(("example", "concept"), COMBINATIONS)
def test_a_step_stays_on_the_device_and_reads_no_value(example, concept):
    assert on_meta(chosen(example, concept)) == []
    assert reads(chosen(example, concept)) == []


def test_a_method_that_reads_a_value_is_found():
    reading = training.Axes(methods.example_axis(None), Reading(TASK.counts))
    assert "aten::_local_scalar_dense" in reads(reading)
    with pytest.raises(RuntimeError, match="meta"):
        on_meta(reading)


def test_the_measurements_for_a_gpu_run_and_name_the_device(tmp_path):
    """Also where there is none, so that one that is lent for minutes is not wasted."""
    options = ["--size=32", "--batch=2", "--steps=1", "--rounds=1", "--without", "tests", "compiled"]
    gpu.main([*options, f"--out={tmp_path}"])
    [file] = tmp_path.glob("gpu-*.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else arithmetic.cpu())
    assert found["images_per_second"].keys() == {"plain", "erm", "el", "cl", "hrrl"}
    assert all(rate > 0 for rate in found["images_per_second"].values())
    error = found["input_gradient_error"]
    assert error["float32"] < 1e-4
    in_use = replace(COMPUTE, precision="bfloat16", device="auto").precision_in_use()  # float32 where it has no such
    assert (error["bfloat16"] > 1e-4) == (in_use == "bfloat16")
