"""Convolutions of tiny images are the plain ones: outputs, and gradients of images, weights and biases."""

import pytest
import torch
from torch import nn

from hrrl.fast.convolution import Conv2d, is_tiny, speed_up
from hrrl.train import models


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), [
    (3, 1, 1, (1, 1)), (3, 1, 1, (2, 2)), (3, 2, 1, (2, 2)), (3, 1, 1, (3, 3)), (3, 2, 1, (3, 2)),
    (5, 1, 0, (5, 5)), (7, 2, 3, (6, 7)), ((3, 5), (2, 1), (1, 0), (2, 6)),
])  # fmt: skip
def test_equals_the_plain_convolution(kernel, stride, padding, size, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double()
    fast = speed_up(nn.Conv2d(3, 5, kernel, stride, padding, bias=bias).double())
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, *size, dtype=torch.float64, requires_grad=True)
    assert is_tiny(fast, x)
    outputs = [layer(x) for layer in (plain, fast)]
    direction = torch.randn_like(outputs[0])
    gradients = [
        torch.autograd.grad(y, [x, *layer.parameters()], direction)
        for y, layer in zip(outputs, (plain, fast), strict=True)
    ]
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(*gradients, strict=True))
    assert torch.allclose(*outputs, rtol=1e-12, atol=1e-12)


def test_other_convolutions_are_left_alone():
    x = torch.rand(2, 4, 2, 2)
    for layer in (nn.Conv2d(4, 4, 3, groups=2, padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")):
        assert torch.equal(layer(x), speed_up(layer)(x))
        assert not is_tiny(layer, x)
    assert not is_tiny(nn.Conv2d(4, 4, 1), torch.rand(2, 4, 1, 1))
    assert not is_tiny(nn.Conv2d(4, 4, 3, padding=1), torch.rand(2, 4, 4, 4))


def test_a_classifier_trains_as_with_plain_convolutions():
    x, y = torch.rand(8, 3, 32, 32), torch.arange(8) % 4
    gradients = []
    for kind in (Conv2d, nn.Conv2d):
        torch.manual_seed(0)
        model = models.build("resnet18", 4).double().eval()
        for module in model.modules():
            module.__class__ = kind if type(module) is Conv2d else type(module)
        nn.functional.cross_entropy(model(x.double()), y).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-8, atol=1e-12)
