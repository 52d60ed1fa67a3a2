"""What params name is looked for before the first image is read."""

from pathlib import Path

import pytest

from hrrl.errors import UserError
from hrrl.report import statistics
from hrrl.settings import preflight
from hrrl.settings.schema import Params, load

ROOT = Path(__file__).parent.parent
SMOKE = load(ROOT / "presets/smoke.yaml")


def test_the_smoke_preset_is_fine_but_for_its_one_seed(capsys):
    preflight.check(SMOKE)
    assert "seeds: 1 decide no claim" in capsys.readouterr().err


@pytest.mark.parametrize(("seeds", "said"), [([0, 1, 2], "3 decide a claim only by a large"), ([0, 1, 2, 3, 4], "")])
def test_few_seeds_are_said_to_be_few(seeds, said, capsys):
    preflight.check(Params.model_validate(SMOKE.as_dict() | {"seeds": seeds}))
    found = capsys.readouterr().err
    assert said in found
    assert bool(said) == ("seeds:" in found)
    assert preflight.FEW == statistics.FEW


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain.backbone": "resnet19"}, "pretrain.backbone: cannot build 'resnet19'"),
        ({"pretrain.backbone": "timm/resnet19"}, "pretrain.backbone: cannot build 'timm/resnet19'"),
        ({"pretrain.backbone_args": {"chanels": [8]}}, "pretrain.backbone: cannot build .*chanels"),
        ({"pretrain.backbone_args": {"channels": 5}}, "pretrain.backbone: cannot build"),
        ({"pretrain.backbone": "squeezenet1_0", "pretrain.backbone_args": {}}, "ends in no linear layer"),
        ({"pretrain.backbone": "vgg11", "pretrain.backbone_args": {}}, "'vgg11' cannot train on .* 28 pixels"),
        ({"pretrain.backbone": "googlenet", "pretrain.backbone_args": {}, "pretrain.image_size": 64}, "one logit"),
        ({"finetune.batch_size": 1}, "finetune: .* cannot train on batches of 1 image"),
        ({"datasets.garments.root": "/no/such/folder"}, "datasets.garments.root: /no/such/folder does not exist"),
        ({"datasets.lowres.root": "$NO_SUCH/x"}, "datasets.lowres.root: .* variable in it is not set"),
        ({"datasets.digits.root": "/tmp"}, "datasets.digits.root: .*set it to null"),
        ({"datasets.digits.kind": "torchvision/Nothing"}, "kind: torchvision/Nothing"),
        ({"datasets.lowres.synsets": {"Bag": "bagg.n.01"}}, "datasets.lowres.synsets.Bag: .*'bagg.n.01'"),
        ({"concepts": [{"name": "a", "synset": "clothng.n.01"}]}, "concepts: a: .*'clothng.n.01'"),
        ({"concepts": {"csv": "no/such.csv"}}, "no/such.csv: cannot be read"),
        ({"compute.sync_batchnorm": True, "compute.device": "cpu", "launch.nproc": 2}, "compute.sync_batchnorm"),
    ],
)
def test_what_is_not_there_is_named(changes, message):
    content = SMOKE.as_dict()
    for key, value in changes.items():
        *path, last = key.split(".")
        section = content
        for part in path:
            section = section[part]
        section[last] = value
    with pytest.raises(UserError, match=message) as error:
        preflight.check(Params.model_validate(content))
    assert "\n" not in str(error.value)
