"""Backbones: classifiers of torchvision or timm behind an input normalisation, and their files."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hrrl.common.files import write_json
from hrrl.common.model_utils import logits_of
from hrrl.errors import UserError
from hrrl.fast.convolution import speed_up

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LOGITS = (nn.Linear, nn.Conv2d)  # layers that give logits; the latter of one pixel, the mean of all


class Classifier(nn.Module):
    """Images in [0, 1] to logits: the input normalisation is the first layer, so perturbations are in pixel units.

    ``forward`` takes (B, 3, S, S) images and gives (B, classes) logits; ``features`` gives (B, d), the input of the
    last linear layer, which is what the paper transfers.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.backbone((x - self.mean) / self.std)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return features_of(self.backbone, (x - self.mean) / self.std)


def features_of(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(B, d), what the linear layer gets whose output is ``model(x)``, be it in another precision.

    Where the logits come from no single linear layer, timm's models say what their features are. A model that ends in
    none and is none of timm's (or one of timm's with ``num_classes=0``) gives its features itself.
    """
    if isinstance(model, Classifier):
        return model.features(x)
    last: list[torch.Tensor] = []  # input and output of the linear layer that was called last

    def record(layer: nn.Module, inputs: tuple[torch.Tensor, ...], kwargs: dict, output: torch.Tensor) -> None:
        last[:] = *inputs, *kwargs.values(), output

    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(record, with_kwargs=True) for layer in layers]
    try:
        output = logits_of(model(x))
    finally:
        for handle in handles:
            handle.remove()
    if last and _same(last[1], output):
        return last[0].flatten(1)
    if hasattr(model, "forward_head") and hasattr(model, "forward_features") and getattr(model, "num_classes", None):
        pooled: torch.Tensor = model.forward_head(model.forward_features(x), pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)
    return output.flatten(1)


def _same(layer_output: torch.Tensor, output: torch.Tensor) -> bool:
    """Whether a layer's output is the model's, which wrappers for mixed precision cast."""
    comparable = layer_output.shape == output.shape and not output.is_meta
    return layer_output is output or (comparable and torch.equal(layer_output.to(output), output))


def build(
    backbone: str,
    classes: int,
    args: dict[str, Any] | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Classifier:
    """A freshly initialised classifier from torchvision ("resnet18") or timm ("timm/resnet18").

    ``args`` go to the constructor, e.g. ``{"channels": [32, 64, 128, 256]}`` for timm's ResNets. Draws from torch's
    global random state: seed it first.

    Raises:
        UserError: there is no such backbone, it does not take these arguments, or it ends in no linear layer.
    """
    args = dict(args or {})
    try:
        if backbone.startswith("timm/"):
            import timm  # takes seconds to import, and the paper's backbone does not need it

            net = timm.create_model(backbone.removeprefix("timm/"), num_classes=classes, **args)
        else:
            from torchvision.models import get_model

            net = get_model(backbone, num_classes=classes, **args)
    except Exception as error:  # whatever a constructor raises over arguments that it does not take
        raise UserError(
            f"pretrain.backbone: cannot build {backbone!r} with backbone_args {args}: {' '.join(str(error).split())}; "
            "use a classifier of torchvision.models (resnet18) or of timm (timm/resnet18)"
        ) from None
    if not hasattr(net, "forward_head") and not any(isinstance(module, nn.Linear) for module in net.modules()):
        raise UserError(_headless(backbone))
    return Classifier(speed_up(net), mean, std)


def skeleton(backbone: str, classes: int, args: dict[str, Any] | None = None) -> Classifier:
    """What :func:`build` gives, on the device ``meta``: shapes without values. Draws nothing."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build(backbone, classes, args)
        except UserError:  # some networks compute with numbers as they are built
            return build(backbone, classes, args).to("meta")


def heads(backbone: str, args: dict[str, Any] | None = None) -> list[str]:
    """The names of the layers that give logits: those as wide as there are classes. A distilled network has two.

    Raises:
        UserError: there is none, or as :func:`build`.
    """
    return list(_heads(backbone, json.dumps(args or {})))


@cache  # it builds two networks
def _heads(backbone: str, args: str) -> tuple[str, ...]:
    two, three = (skeleton(backbone, classes, json.loads(args)).backbone for classes in (2, 3))
    layers = [name for name, layer in two.named_modules() if isinstance(layer, LOGITS)]
    names = [name for name in layers if three.get_submodule(name).weight.shape != two.get_submodule(name).weight.shape]
    if not names:
        raise UserError(_headless(backbone))
    return tuple(names)


def replace_heads(model: Classifier, names: Sequence[str], classes: int) -> None:
    """Puts new, randomly initialised layers with ``classes`` outputs in the place of those (fine-tuning)."""
    for name in names:
        head: Any = model.backbone.get_submodule(name)
        if isinstance(head, nn.Conv2d):
            new: nn.Module = nn.Conv2d(head.in_channels, classes, 1, bias=head.bias is not None)
        else:
            new = nn.Linear(head.in_features, classes, bias=head.bias is not None)
        model.backbone.set_submodule(name, new.to(head.weight.device))


def save(model: Classifier, folder: Path, description: dict[str, Any]) -> None:
    """Writes model.safetensors (the backbone's plain state dict) and model.json into ``folder``.

    ``description`` needs ``backbone``, ``backbone_args``, ``classes`` and ``image_size``, so that :func:`load`
    can build the model again.
    """
    from safetensors.torch import save as as_bytes

    folder.mkdir(parents=True, exist_ok=True)
    dense: Any = {"memory_format": torch.contiguous_format}  # safetensors takes none that share values, as CoaT's do
    state = {name: value.detach().cpu().clone(**dense) for name, value in model.backbone.state_dict().items()}
    (folder / "model.safetensors").write_bytes(as_bytes(state))
    pixels = {"mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()}
    write_json(folder / "model.json", description | pixels)


def load(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The classifier that :func:`save` wrote, on the CPU in evaluation mode, and its description.

    Raises:
        UserError: there is none in the folder, or a corrupt one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (file := Path(folder) / "model.json").is_file():
        raise UserError(f"{file}: is not there; takes the folder of a trained model, as models/hrrl-0 is after a run")
    description = json.loads(file.read_text(encoding="utf-8"))
    normalisation = description["mean"], description["std"]
    model = build(description["backbone"], len(description["classes"]), description["backbone_args"], *normalisation)
    try:
        saved = load_file(Path(folder) / "model.safetensors")
    except SafetensorError as error:
        raise UserError(f"{folder}/model.safetensors: is not whole ({error}); copy the folder again") from None
    shapes, needed = ({k: v.shape for k, v in state.items()} for state in (saved, model.backbone.state_dict()))
    if shapes != needed:
        raise UserError(f"{folder}/model.safetensors: has other tensors than its model.json asks for; copy both again")
    fill(model.backbone, saved)
    return model.eval(), description


def fill(net: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Loads a state over the network's own, which keeps the version metadata that files lack."""
    merged = net.state_dict()
    merged.update(state)
    net.load_state_dict(merged)


def _headless(backbone: str) -> str:
    return f"pretrain.backbone: {backbone!r} ends in no linear layer; use one that does"
