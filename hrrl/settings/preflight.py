"""Checks of params before the first image is read, beyond the schema: what they name exists and fits together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from hrrl import concepts
from hrrl.concepts.wordnet import open_wordnet
from hrrl.data import readers
from hrrl.data.locate import Definition, given_root
from hrrl.errors import UserError, note
from hrrl.train import models, runtime
from hrrl.train.weights import Init, open_weights

if TYPE_CHECKING:
    from hrrl.settings.schema import Params

ADVISED_SEEDS = 5  # seeds: with fewer, intervals are right but wide (hrrl/report/statistics.py)
# Above it, the first steps destroy most of what weights have learnt: an epoch at 0.02 cost 5 to 11 points of transfer
# in results/photos_init_first_form.
LR = {"sgd": 0.01, "adamw": 5e-4}
CLASSES = 10  # of the networks that are built as a check


def check(params: "Params") -> None:
    """Checks what params (hrrl.settings.schema.Params) name on this machine; reads no image and writes nothing.

    Raises:
        UserError: as :func:`check_named`.
    """
    names = dict.fromkeys([params.benchmark, *params.targets])
    datasets = {name: params.datasets[name] for name in names}
    check_named(params, params.compute, datasets, params.as_dict()["concepts"], params.starts())


def check_named(
    params: "Params",
    compute: runtime.Compute,
    datasets: Mapping[str, Definition],
    grouping: Any,
    starts: Mapping[str, dict[str, Any]],
) -> None:
    """Checks the datasets in use, the grouping into concepts (the section ``concepts``), device, network and weights.

    Warns on stderr of so few seeds that the run will decide little, and of settings that would destroy weights.

    Args:
        starts: as ``Params.starts`` gives them.
    Raises:
        UserError: one line with the key: a folder, file, synset, kind, backbone or device that is not there, a
            network that cannot be trained on images and batches of these sizes, or weights that do not fit it.
    """
    runtime.check(compute, params.launch.nproc, params.launch.nnodes)
    for name, definition in datasets.items():
        given_root(readers.load(definition.kind), definition.root, f"datasets.{name}.root")
        for class_name, synset in definition.synsets.items():
            concepts.find_synset(synset, f"datasets.{name}.synsets.{class_name}")
    open_wordnet()  # Table 1 needs it, whatever the setting
    concepts.csv_file.sha256(grouping)
    if isinstance(grouping, list):
        concepts.named_synsets(grouping)
    model = _backbone(params)
    for start in {start["key"]: start for start in starts.values()}.values():
        backbone = params.pretrain.backbone, params.pretrain.backbone_args
        open_weights(Init(**start["init"]), *backbone, start["key"]).fitted(model.backbone)
    _warn_of_harm(params.pretrain, starts)
    if len(params.seeds) < ADVISED_SEEDS:
        decided = "no claim" if len(params.seeds) == 1 else "a claim only by a large difference"
        note(f"seeds: {len(params.seeds)} decide {decided}; python -m hrrl.report.power says how many it takes")


def _warn_of_harm(settings: Any, starts: Mapping[str, dict[str, Any]]) -> None:
    """Warns of steps, of the network or of q, that are so large that they would destroy the weights to start from."""
    trained = [name for name, start in starts.items() if start["epochs"]]
    lr, bound = settings.lr, LR[settings.optimizer or "sgd"]
    if trained and lr > bound:
        note(f"pretrain.lr: {lr:g} destroys most of what weights have learnt; they take {bound:g} or less")
    if fast := [f"variants.{name}" if name else "search" for name in trained if starts[name]["fast"]]:
        note(
            f"{', '.join(fast)}: without a slow start, the first steps of q are as long as 1/(lam t) and can destroy "
            "the weights to start from; c = 10 and an s of a few hundred steps kept them"
        )


def _backbone(params: "Params") -> models.Classifier:
    """The network on the device ``meta``, after a forward pass of a training batch's shape for each stage."""
    settings, processes = params.pretrain, params.launch.nproc * params.launch.nnodes
    name, size = settings.backbone, settings.image_size
    models.heads(name, settings.backbone_args)
    model = models.skeleton(name, CLASSES, settings.backbone_args)
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
    return model
