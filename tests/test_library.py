"""The package in other people's code: its surface, its examples in docstrings, models of any make, the estimator."""

import doctest
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import timm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import hrrl
from hrrl import LinearSVM
from hrrl.train import models

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.25, 0.3)
NARROW = {"channels": (8, 16, 16, 32)}
MODULES = ["concepts", "transfer.extraction", "transfer.linear_svm"]
MODULES += [f"methods.{name}" for name in ("concept.hrrl", "example.gradient", "simplex", "theory")]


def test_the_surface_is_small_and_imported_at_first_use():
    program = """
import sys, hrrl
assert not {"torch", "numpy", "hrrl.objective"} & sys.modules.keys()
hrrl.perturb, hrrl.ConceptDistribution
assert not {"sklearn", "nltk", "pydantic", "timm", "torchvision", "pandas"} & sys.modules.keys()
sys.modules["sklearn"] = None
try:
    hrrl.svm_score
except ImportError as error:
    assert "hrrl[svm]" in str(error), error
from hrrl.__main__ import main
main()
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (1, "hrrl needs sklearn: pip install 'hrrl[pipeline]'\n")
    assert len(hrrl.__all__) <= 10
    assert set(hrrl.__all__) == set(hrrl._PLACES) <= set(dir(hrrl))
    assert all(getattr(hrrl, name).__doc__ for name in hrrl.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = hrrl.nothing


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    torch.manual_seed(0)
    result = doctest.testmod(import_module(f"hrrl.{module}"))
    assert result.attempted > result.failed == 0


class Named(nn.Module):
    """A classifier as Hugging Face's: its logits are a field of what it returns."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return SimpleNamespace(loss=None, logits=self.net(x))


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    x = F.interpolate(torch.rand(6, 3, 7, 7, generator=generator), 32, mode="bilinear")
    return x, torch.randint(0, 4, (6,), generator=generator)


@pytest.fixture(scope="module")
def resnet(batch):
    torch.manual_seed(0)
    model, (x, y) = timm.create_model("resnet18", num_classes=4, **NARROW), batch
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.requires_grad_(False)  # frozen, in training mode
    return model


def test_the_step_is_the_same_whoever_normalises(resnet, batch):
    net, (x, y) = resnet, batch
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    expected = reference.moved(models.Classifier(net, MEAN, STD), x, y, 0.5)
    moved = hrrl.perturb(net, (x - mean) / std, y, 0.5, mean=MEAN, std=STD)
    assert net.training
    torch.testing.assert_close(moved * std + mean, expected, rtol=0, atol=1e-4)
    raw = hrrl.perturb(net, (x - mean) / std, y, 0.5) - (x - mean) / std
    torch.testing.assert_close(raw.flatten(1).norm(dim=1), torch.full((6,), 0.5))


class Cast(Named):
    """As wrappers for mixed precision give logits: of another type than the last layer's."""

    def forward(self, x):
        return self.net(x).double()


class ByKeyword(Named):
    def forward(self, x):
        return self.net.fc(input=self.net.global_pool(self.net.forward_features(x)))


def compiled(net):
    return torch.compile(net, backend="eager")


def checkpointed(net):
    net = timm.create_model("resnet18", num_classes=4, **NARROW)
    net.set_grad_checkpointing()
    return net


@pytest.mark.parametrize("wrap", [Named, Cast, ByKeyword, compiled, nn.DataParallel, checkpointed])
def test_wrapped_models_are_the_model(resnet, batch, wrap):
    x, y = batch
    net = wrap(resnet)
    inner = net if wrap is checkpointed else resnet
    before = [module.training for module in net.modules()]
    moved = hrrl.perturb(net, x, y, 0.5)
    features, labels = hrrl.extract_features(net, [(x[:4], y[:4]), (x[4:], y[4:])])
    assert [module.training for module in net.modules()] == before
    torch.testing.assert_close(moved, reference.moved(inner, x, y, 0.5), rtol=0, atol=1e-3)
    inner.eval()
    with torch.no_grad():
        logits = inner(x)
    inner.train()
    torch.testing.assert_close(inner.fc(torch.from_numpy(features)), logits)
    assert labels.tolist() == y.tolist()


def test_both_axes_under_ddp(batch, tmp_path):
    x, y = batch
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = nn.parallel.DistributedDataParallel(timm.create_model("resnet18", num_classes=4, **NARROW))
        q = hrrl.ConceptDistribution([3, 2], lam=1.0)
        for _ in range(2):
            losses = F.cross_entropy(net(hrrl.perturb(net, x, y, 0.5)), y, reduction="none")
            (q.weights(y // 2).to(losses) * losses).mean().backward()
            q.update(losses.detach(), y // 2)
    finally:
        dist.destroy_process_group()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("name", "settings", "width"),
    [
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 1}, 192),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 1, "num_classes": 0}, 192),
        ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 1}, 192),  # two linear heads
        ("resnetv2_50", {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 32), "stem_chs": 8}, 32),  # head: a convolution
        ("convit_tiny", {"img_size": 32, "embed_dim": 8, "depth": 2, "local_up_to_layer": 1}, 32),  # keeps tensors
    ],
)
def test_features_are_what_the_head_gets(batch, name, settings, width):
    """And the network can be trained afterwards."""
    model = timm.create_model(name, **({"num_classes": 4} | settings)).eval()
    features, _ = hrrl.extract_features(model, [batch])
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(batch[0]), pre_logits=True).flatten(1)
    assert features.shape == (6, width)
    torch.testing.assert_close(torch.from_numpy(features), expected)
    model(batch[0]).sum().backward()


@parametrize_with_checks([LinearSVM()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("load", "C"), [(load_breast_cancer, 0.01), (load_iris, 1.0)])
def test_its_weights_are_those_of_linear_svc(load, C):
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    found, theirs = LinearSVM(C).fit(x, y), LinearSVC(C=C, dual=False, tol=1e-9, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(found.coef_, theirs.coef_, atol=1e-3)
    np.testing.assert_allclose(found.intercept_, theirs.intercept_, atol=1e-3)


def test_what_cannot_be_fitted_is_said():
    x, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="1 Newton steps"):
        LinearSVM(max_iter=1).fit(x, y)
    for settings in ({"C": 0.0}, {"tol": -1.0}, {"max_iter": 0}):
        with pytest.raises(ValueError, match=f"LinearSVM: {next(iter(settings))} is"):
            LinearSVM(**settings).fit(x, y)
