"""The fast input gradient, and convolutions of tiny images, are the plain ones, and nothing of the model is touched."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import get_model

from hrrl import fast
from hrrl.fast import folding
from hrrl.fast.convolution import is_tiny, speed_up
from hrrl.objective import input_gradient, perturb
from hrrl.train import models

NETS = {
    "resnet18": ("resnet18", {}, 32),
    "resnet18 of few pixels": ("resnet18", {}, 6),
    "mobilenet_v3_small": ("mobilenet_v3_small", {}, 32),
    "narrow, of bottlenecks": ("timm/resnet26", {"channels": [16, 32, 64, 128]}, 28),
    "quick": ("timm/resnet10t", {"channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8}, 28),
}


def plain_gradient(model, x, y):
    """The definition, with torch's own layers, of a model in evaluation mode."""
    x = x.clone().requires_grad_()
    logits = model(x)
    logits = logits.float() if logits.dtype == torch.bfloat16 else logits
    return torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), x)[0]


def batch(size):
    generator = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(4, 3, 7, 7, generator=generator), size, mode="bilinear")
    return x.contiguous(memory_format=torch.channels_last), torch.randint(4, (4,), generator=generator)


def with_statistics(model, x, y):
    """A few steps of training, so that batch norms hold statistics and affine parameters of their own.

    The labels move on with each step: a net that knows its few images by heart has no gradient left.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    for step in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y.roll(step)).backward()
        optimizer.step()
    for parameter in model.parameters():
        parameter.grad = None
    return model


def network(name):
    backbone, args, size = NETS[name]
    torch.manual_seed(0)
    x, y = batch(size)
    model = models.build(backbone, 4, args).to(memory_format=torch.channels_last)
    return with_statistics(model, x, y), x, y


@pytest.mark.parametrize("name", NETS)
def test_same_gradient_in_each_precision(name):
    model, x, y = network(name)
    fast = input_gradient(model, x, y)
    folds = len(folding._chains[model])
    assert folds == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    model.eval()
    expected = plain_gradient(model, x, y)
    double = plain_gradient(model.double(), x.double(), y)
    assert (fast - double).norm() <= 2 * (expected - double).norm() + 1e-5 * double.norm()  # float32's own error
    assert torch.allclose(input_gradient(model, x.double(), y), double, rtol=1e-9, atol=1e-12 * double.abs().max())
    model.float()
    with torch.autocast("cpu", torch.bfloat16):
        both = input_gradient(model, x, y), plain_gradient(model, x, y)
    fast, slow = (F.cosine_similarity(g.flatten(1), expected.flatten(1)).mean() for g in both)
    assert fast >= slow - 0.005


def equal_in_float64(found, expected, *inputs: list) -> None:
    """Two outputs, and the gradients of each with respect to inputs of its own."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(found)
    gradients = [torch.autograd.grad(y, of, direction) for y, of in zip((found, expected), inputs, strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


CONVOLUTION = ("kernel", "stride", "padding", "size")
TINY = [(3, 1, 1, (1, 1)), (3, 1, 1, (2, 2)), (3, 2, 1, (2, 2)), (3, 1, 1, (3, 3)), (3, 2, 1, (3, 2))]
TINY += [(5, 1, 0, (5, 5))]
LARGER = [(7, 2, 3, (28, 28)), (7, 2, 3, (33, 32)), (3, 2, 1, (9, 8)), (4, 4, 0, (18, 19)), (3, 2, 0, (8, 8))]


@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize(CONVOLUTION, [*TINY, *LARGER, (5, 3, 4, (9, 7))])
def test_special_convolutions_in_float64(channels, kernel, stride, padding, size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(channels, 5, kernel, stride, padding), nn.BatchNorm2d(5)).double().eval()
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    expected = model(x)
    with folding.folded(model, x):
        output = model(x)
    equal_in_float64(output, expected, [x], [x])


def test_a_network_that_joins_tensors_is_folded():
    """What torch.cat made is gone when a later layer's output is: that could have its id."""
    torch.manual_seed(0)
    model, x = get_model("densenet121", num_classes=4).eval(), torch.rand(2, 3, 32, 32)
    with folding.folded(model, x):
        found = model(x)
    assert len(folding._chains[model]) == 59  # of 120 convolutions: the others' norms come before them
    torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)


class Odd(nn.Module):
    """Folding would be wrong in each of its parts: outputs used twice, a choice of norms, layers called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.fourth = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))
        self.shared, self.batch = nn.BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)
        self.head, self.choice = nn.Linear(3, 4), 0

    def forward(self, x):
        x = self.norms[self.choice](self.first(x)).relu()
        a = self.second(x)
        x = self.shared(a) + a.sigmoid()
        x = self.batch(self.third(self.shared(x)))
        b = self.fourth(x)
        x = self.norms[2](b) * b.detach()
        return self.head(x.relu().mean((2, 3)))


class Skip(nn.Module):
    """A stem whose pooling is not all that its ReLU goes to."""

    def __init__(self, inplace):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.relu, self.pool, self.head = nn.ReLU(inplace), nn.MaxPool2d(3, 2, 1), nn.Linear(12, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return self.head(torch.cat([self.pool(x).mean((2, 3)), x.square().mean((2, 3))], 1))


@pytest.mark.parametrize("inplace", [True, False])
def test_a_stem_that_skips_its_pooling(inplace):
    torch.manual_seed(0)
    x, y = batch(8)
    model = with_statistics(Skip(inplace), x, y).eval()
    fast = input_gradient(model, x, y)
    assert [len(chain) for chain in folding._chains[model]] == [2]
    assert torch.allclose(fast, plain_gradient(model, x, y), rtol=1e-4, atol=1e-8)


def test_unusual_structures_are_computed_as_they_stand():
    torch.manual_seed(0)
    x, y = batch(8)
    model = with_statistics(Odd(), x, y)
    for choice in (0, 1, 1, 0):
        model.choice = choice  # another norm than at the first pass
        fast = input_gradient(model, x, y)
        assert torch.allclose(fast, plain_gradient(model.eval(), x, y), rtol=1e-4, atol=1e-7)
        assert not any("forward" in vars(module) for module in model.modules())
    hook = model.first.register_forward_hook(lambda module, inputs, output: output + 1)
    assert torch.allclose(input_gradient(model, x, y), plain_gradient(model, x, y), rtol=1e-4, atol=1e-7)
    hook.remove()
    model, *of = network("quick")
    model, seen = model.eval(), []
    input_gradient(model, *of)
    conv = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    conv.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))  # once all is known of it
    assert torch.allclose(input_gradient(model, *of), plain_gradient(model, *of), rtol=1e-4, atol=1e-7)
    assert torch.equal(*seen)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4))
    assert torch.allclose(input_gradient(plain, x, y), plain_gradient(plain, x, y), rtol=1e-5)


def test_inference_mode_is_no_obstacle_to_autocast():
    model, x, y = network("quick")
    with torch.autocast("cpu", torch.bfloat16):
        expected = perturb(model, x, y, 0.1)
        with torch.inference_mode():
            model.eval()(x)  # autocast may keep what it has cast
            assert torch.equal(perturb(model, x + 0, y + 0, 0.1), expected)


def test_labels_are_integers_of_any_width_and_images_floats():
    model, x, y = network("quick")
    assert torch.equal(perturb(model, x, y.int(), 0.1), perturb(model, x, y, 0.1))
    soft = F.one_hot(y, 4) * 0.9 + 0.025
    assert torch.allclose(input_gradient(model, x, soft), plain_gradient(model.eval(), x, soft), rtol=1e-3, atol=1e-6)
    with pytest.raises(TypeError, match=r"floats in \[0, 1\] only, got torch.uint8"):
        perturb(model, (255 * x).to(torch.uint8), y, 0.1)


class Tiny(nn.Module):
    """Logits of a linear layer, in an output as Hugging Face's; ``factor`` makes predictions sure."""

    def __init__(self, dtype=torch.float32, factor=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.dtype, self.factor, self.seen = nn.Linear(3 * 4 * 4, 4), dtype, factor, []

    def forward(self, x):
        logits = self.factor * self.linear(x.flatten(1)).to(self.dtype)
        if logits.requires_grad:
            logits.register_hook(self.seen.append)
        return SimpleNamespace(logits=logits)


class Around(nn.Module):
    """What wraps a model, as torch.compile does."""

    def __init__(self, model):
        super().__init__()
        self._orig_mod = model

    def forward(self, x):
        raise AssertionError("the model itself is to be asked")


@pytest.mark.parametrize("on", [True, False])
def test_the_model_inside_is_asked_in_inference_mode_too(on):
    model, x, y = Tiny(), torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 2, 3, 0])
    error = torch.softmax(model(x).logits.detach().double(), 1) - F.one_hot(y, 4)
    expected = (error @ model.linear.weight.detach().double()).view_as(x)
    with fast.switched(on), torch.inference_mode():
        found = input_gradient(Around(model), x + 0, y + 0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
    assert (model in folding._chains) == on
    given = x.clone()
    assert torch.equal(input_gradient(model, given, y), found)
    assert not given.requires_grad


def test_a_sure_predictions_gradient_survives_float16():
    """Each example's is scaled by a power of two of its own, to between 128 and 256 where it enters float16."""
    model, x, y = Tiny(torch.float16, 6.0), torch.rand(6, 3, 4, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    x[1:] *= 0.1
    with torch.no_grad():
        model.linear.weight[0] += 0.14
        logits = model(x).logits.float()  # the losses' precision
    error = (torch.softmax(logits, 1) - F.one_hot(y, 4)).double()
    assert 0 < error[0].abs().max() < 1e-6 < 0.5 < error[1].abs().max() < 0.95  # float16's least number is 6e-8
    expected = 6 * (error @ model.linear.weight.detach().double()).view_as(x)
    found = input_gradient(model, x, y)
    assert found.dtype == torch.float32
    for a, b in zip(found.double(), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-3 * float(b.abs().max()))
    [seen] = model.seen
    assert all(128 < float(entry) <= 256 for entry in seen.abs().amax(1))
    model.linear.weight.data.zero_()  # logits are the biases, and errors multiples of a quarter: nothing is rounded
    model.linear.bias.data.zero_()
    model.linear.weight.data[1] = 1.0
    x = torch.zeros(2, 3, 4, 4)
    assert input_gradient(model, x, torch.tensor([0, 1])).flatten(1)[:, 0].tolist() == [6 * 0.25, 6 * -0.75]
    model.linear.bias.data = torch.tensor([1e3, 0.0, 0.0, 0.0])
    assert torch.equal(input_gradient(model, x, torch.tensor([0, 0])), x)  # surer than float32 can tell


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(CONVOLUTION, [*TINY, (7, 2, 3, (6, 7)), ((3, 5), (2, 1), (1, 0), (2, 6))])
def test_equals_the_plain_convolution(kernel, stride, padding, size, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double()
    fast = speed_up(nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double())
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, *size, dtype=torch.float64, requires_grad=True)
    assert is_tiny(fast, x)
    equal_in_float64(fast(x), plain(x), [x, *fast.parameters()], [x, *plain.parameters()])


def test_other_convolutions_are_left_alone():
    x = torch.rand(2, 4, 2, 2)
    for layer in (nn.Conv2d(4, 4, 3, groups=2, padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")):
        assert torch.equal(layer(x), speed_up(layer)(x))
        assert not is_tiny(layer, x)
    assert not is_tiny(nn.Conv2d(4, 4, 1), torch.rand(2, 4, 1, 1))
    assert not is_tiny(nn.Conv2d(4, 4, 3, padding=1), torch.rand(2, 4, 4, 4))


def test_a_classifier_trains_as_with_plain_convolutions():
    """To the bit where all is switched off, also after it was built; else up to rounding."""
    x, y = torch.rand(8, 3, 32, 32, dtype=torch.float64), torch.arange(8) % 4
    model, plain = models.build("resnet18", 4), models.Classifier(get_model("resnet18", num_classes=4))
    plain.load_state_dict(model.state_dict())
    gradients = []
    for net, on in ((model, True), (model, False), (plain, True)):
        net.double().eval().zero_grad()
        with fast.switched(on):
            F.cross_entropy(net(x), y).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in net.parameters()]))
    faster, off, expected = gradients
    assert torch.equal(off, expected)
    assert not torch.equal(faster, expected)
    assert torch.allclose(faster, expected, rtol=1e-8, atol=1e-12)
