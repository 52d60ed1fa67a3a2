"""What can be known of params before the first image is read, beyond their form: what they name is there and fits."""

from typing import TYPE_CHECKING

import torch

from hrrl import concepts, models, runtime
from hrrl.datasets import kinds
from hrrl.datasets.locate import given_root
from hrrl.errors import UserError
from hrrl.wordnet import open_wordnet

if TYPE_CHECKING:
    from hrrl.params import Dataset, Params

CLASSES = 10  # of the networks that are built to see whether they can be


def check(params: "Params") -> None:
    """Checks params (hrrl.params.Params) on this machine; reads no image and writes nothing.

    Raises:
        UserError: one line with the key: a folder, file, synset, kind, backbone or device that is not there, or a
            network that cannot be trained on images and batches of these sizes.
    """
    runtime.check(params.compute, params.launch.nproc, params.launch.nnodes)
    for name in dict.fromkeys([params.benchmark, *params.targets]):
        _dataset(params.datasets[name], f"datasets.{name}")
    _concepts(params)
    _backbone(params)


def _dataset(definition: "Dataset", key: str) -> None:
    given_root(kinds.load(definition.kind), definition.root, f"{key}.root")
    for name, synset in definition.synsets.items():
        concepts.find_synset(synset, f"{key}.synsets.{name}")


def _concepts(params: "Params") -> None:
    open_wordnet()  # Table 1 takes it, whatever the setting
    setting = params.as_dict()["concepts"]
    concepts.csv_hash(setting)
    if isinstance(setting, list):
        concepts.named_synsets(setting)


def _backbone(params: "Params") -> None:
    """Builds the network and takes a step's shapes through it, where it can be without memory."""
    settings, processes = params.pretrain, params.launch.nproc * params.launch.nnodes
    name, size = settings.backbone, settings.image_size
    try:
        with torch.device("meta"):
            model = models.build(name, CLASSES, settings.backbone_args)
    except UserError:  # some networks compute with numbers as they are built
        model = models.build(name, CLASSES, settings.backbone_args).to("meta")
    for key, schedule in (("pretrain", settings), ("finetune", params.finetune)):
        batch = min(2, schedule.batch_size // processes)
        images = torch.zeros(batch, 3, size, size, device="meta")
        try:
            logits = model.train()(images)
            model.features(images)
        except UserError:
            raise
        except Exception as error:  # whatever a network raises over a shape that it cannot take
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{key}: {name!r} cannot train on batches of {schedule.batch_size} images of {size} pixels "
                f"({reason}); set pretrain.image_size or {key}.batch_size higher, or another backbone"
            ) from None
        if not isinstance(logits, torch.Tensor) or logits.shape != (batch, CLASSES):
            raise UserError(f"pretrain.backbone: {name!r} does not give one logit for each class; use one that does")
