"""Weights to start from: which files are taken, what of them stays, and what each wrong one is told in a line."""

import json
import re
import sys

from stages import resolve

import pytest
import timm
import torch
from conftest import ROOT, SCHEDULE, fit, method, refused, run
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from test_training import equal
from torchvision.models import get_model

from hrrl.errors import UserError
from hrrl.settings import preflight
from hrrl.settings.schema import Params, load
from hrrl.train import models
from hrrl.train.weights import Init, digest, find, open_weights
from scripts.weights import main as fill

ARGS = {"channels": [8, 8, 16, 16]}
CLASSES = [str(digit) for digit in range(10)]
NORMALISATION = models.IMAGENET_MEAN, models.IMAGENET_STD
SMOKE = load(ROOT / "presets/smoke.yaml").as_dict()
CL_ANEW = {"cl": SMOKE["variants"]["cl"] | {"init": "none"}}


@pytest.fixture
def net():
    """A small ResNet that is not the one that any seed here gives, with statistics of batch norm that are its own."""
    torch.manual_seed(7)
    made = timm.create_model("resnet18", num_classes=10, **ARGS).train()
    made(torch.rand(4, 3, 32, 32))
    return made.eval()


@pytest.fixture
def file(net, tmp_path):
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def hashed(file, **more) -> dict:
    return {"file": str(file), "sha256": digest(file)} | more


def opened(init, backbone="timm/resnet18", args=ARGS):
    return open_weights(Init(**init), backbone, args, "init")


def fresh(backbone="timm/resnet18", args=ARGS, classes=10):
    torch.manual_seed(0)
    return models.build(backbone, classes, args)


def test_no_epoch_leaves_the_weights_to_the_bit(net, file, task, tmp_path):
    model, schedule = fresh(), type(SCHEDULE)(**{**vars(SCHEDULE), "epochs": 0})
    init = hashed(file, classes=CLASSES, mean=[0.1] * 3, std=[0.2] * 3)
    assert opened(init).put_into(model, task.train.classes, [None] * 10) == 10
    run = fit(task, tmp_path / "ck", method(task), model, schedule)
    description = {"backbone": "timm/resnet18", "backbone_args": ARGS, "classes": CLASSES, "image_size": 16}
    models.save(run.result, tmp_path / "saved", description)
    assert "mean" not in description
    with refused("nothing/model.json: is not there; takes the folder of a trained model"):
        models.load(tmp_path / "nothing")
    assert equal(load_file(tmp_path / "saved/model.safetensors"), net.state_dict())
    again, _ = models.load(tmp_path / "saved")
    again.backbone.layer1[1].conv2.weight = again.backbone.layer1[1].conv1.weight  # as timm's CoaT shares tensors
    models.save(again, tmp_path / "shared", description)
    assert equal(models.load(tmp_path / "shared")[0].state_dict(), again.state_dict())
    again, _ = models.load(tmp_path / "saved")  # mean and std travel with it
    images = torch.rand(2, 3, 16, 16)
    expected = net((images - 0.1) / 0.2)
    assert torch.allclose(again(images), expected, atol=1e-6)
    # and the model folder is weights to start from itself, with its classes, mean and std
    folder = {"model": str(tmp_path / "saved"), "sha256": digest(tmp_path / "saved/model.safetensors")}
    third = fresh()
    assert opened(folder).put_into(third, CLASSES, [None] * 10) == 10
    assert torch.allclose(third.eval()(images), expected, atol=1e-6)


def test_a_row_of_the_head_stays_by_wnid_or_name_and_the_others_are_the_seeds(net, file):
    known = ["n02119789", "tabby", "n03417042", "dustcart", *(f"other {i}" for i in range(6))]
    model, before = fresh(classes=5), fresh(classes=5).backbone.fc
    asked = ["garbage truck", "unheard of", "Tabby", "tabby", "dustcart"], [None, None, None, "n02119789", None]
    assert opened(hashed(file, classes=known)).put_into(model, *asked) == 4
    # n03417042 is WordNet's garbage truck and dustcart; a wnid comes before a name, a name before another's words
    for row, own in enumerate([2, None, 1, 0, 3]):
        for part in ("weight", "bias"):
            expected = getattr(before, part)[row] if own is None else getattr(net.fc, part)[own]
            assert torch.equal(getattr(model.backbone.fc, part)[row], expected)
    assert torch.equal(model.backbone.bn1.running_mean, net.bn1.running_mean)
    assert opened(hashed(file)).put_into(fresh(classes=4), CLASSES[:4], [None] * 4) == 0  # of unknown classes: new
    for twice in (["crane", "crane"], ["background", "n02119789"]):  # which of two; what is no class of ImageNet
        known = [*twice, *(f"n0211979{i}" for i in range(8))]
        assert opened(hashed(file, classes=known)).put_into(fresh(classes=2), ["crane", "cup"], [None] * 2) == 0


@pytest.mark.parametrize(
    ("name", "args", "heads"),
    [  # the layers inside are as wide as the heads
        ("deit_tiny_distilled_patch16_224", {"img_size": 32, "embed_dim": 4, "num_heads": 1, "depth": 1}, 2),
        ("resnetv2_50", {"layers": [1] * 4, "channels": [8, 8, 16, 32], "stem_chs": 8}, 1),  # a convolution
    ],
)
def test_each_head_keeps_its_rows_and_gets_as_many_new_classes(tmp_path, name, args, heads):
    torch.manual_seed(7)
    theirs, found = timm.create_model(name, num_classes=4, **args).eval(), models.heads(f"timm/{name}", args)
    assert len(found) == heads
    for head in found:
        torch.nn.init.normal_(theirs.get_submodule(head).weight)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    model = fresh(f"timm/{name}", args, 4)
    init = hashed(tmp_path / "w.safetensors", classes=["a", "b", "c", "d"], mean=[0.0] * 3, std=[1.0] * 3)
    assert opened(init, f"timm/{name}", args).put_into(model, ["d", "c", "b", "a"], [None] * 4) == 4
    images = torch.rand(5, 3, 32, 32)
    assert torch.allclose(model.eval()(images), theirs(images).flip(1), atol=1e-6)
    model.backbone.get_submodule(found[0]).bias = None
    models.replace_heads(model, found, 3)
    assert model(images).shape == (5, 3)
    assert [model.backbone.get_submodule(head).bias is None for head in found] == [True, False][:heads]


def test_heads_are_found_by_their_width():
    assert models.heads("googlenet") == ["aux1.fc2", "aux2.fc2", "fc"]


WRAPPED = [
    lambda s: s,
    lambda s: {"state_dict": s, "epoch": 3},
    lambda s: {"model": s},
    lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    lambda s: {"state_dict": {f"net.{k}": v for k, v in s.items()} | {"loss.weight": torch.ones(2)}},  # Lightning's
    lambda s: {"model": {k: 0 * v for k, v in s.items()}, "model_ema": s | {"n_averaged": torch.tensor(3)}},
    lambda s: {f"_orig_mod.{k}".replace("layer1.", "layer1._orig_mod."): v for k, v in s.items()},
    lambda s: {k.replace("layer1.", "_fsdp_wrapped_module.layer1._fsdp_wrapped_module."): v for k, v in s.items()},
]


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_checkpoints_of_torch_are_taken(net, tmp_path, wrapped):
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save(wrapped(state), tmp_path / "net.pth")
    model = fresh()
    opened(hashed(tmp_path / "net.pth", classes=CLASSES)).put_into(model, CLASSES, [None] * 10)
    assert equal(model.backbone.state_dict(), net.state_dict())


def test_timms_own_reading_fits_another_image_size(tmp_path):
    name, args = "vit_tiny_patch16_224", {"patch_size": 8, "embed_dim": 24, "depth": 2}
    small, args = timm.create_model(name, num_classes=3, img_size=32, **args), args | {"img_size": 48}
    save_file(small.state_dict(), tmp_path / "vit.safetensors")
    model = fresh(f"timm/{name}", args, 3)
    found = opened(hashed(tmp_path / "vit.safetensors"), f"timm/{name}", args)
    assert (found.mean, found.std, found.size) == ((0.5,) * 3, (0.5,) * 3, 224)  # as its authors trained it
    found.put_into(model, ["a"] * 3, [None] * 3)
    assert torch.equal(model.backbone.blocks[1].mlp.fc1.weight, small.blocks[1].mlp.fc1.weight)
    assert model.backbone.pos_embed.shape == (1, 37, 24)
    (tmp_path / "vit.safetensors").rename(tmp_path / "model.safetensors")  # a folder that says nothing of them
    alone = find(Init(file=str(tmp_path)), f"timm/{name}", args, "init")
    assert (alone.mean, alone.std, alone.size) == (found.mean, found.std, found.size)
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 48, 40]}
    (tmp_path / "config.json").write_text(json.dumps({"num_classes": 1000, "pretrained_cfg": cfg}))  # timm's form
    told = find(Init(file=str(tmp_path)), f"timm/{name}", args, "init")
    assert (told.mean, told.std, told.size) == (cfg["mean"], cfg["std"], 40)
    assert (len(told.classes), told.classes[0], told.classes[-1]) == (1000, "n01440764", "n15075141")


@pytest.mark.parametrize("prefix", ["", "student."])
def test_weights_without_a_head_get_a_new_one(net, tmp_path, prefix):
    """As self-supervised networks are published."""
    body = {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}
    save_file({prefix + key: value for key, value in body.items()}, tmp_path / "body.safetensors")
    init, model = hashed(tmp_path / "body.safetensors"), fresh()
    assert opened(init).put_into(model, CLASSES, [None] * 10) == 0
    head = {f"fc.{key}": value for key, value in fresh().backbone.fc.state_dict().items()}
    assert equal(model.backbone.state_dict(), body | head)
    with pytest.raises(UserError, match=r"init.classes: 10 are known, but the head of .* has 0; name those, or leave"):
        opened(init | {"classes": CLASSES}).fitted(net)
    name, args = "vit_tiny_patch16_224", {"patch_size": 8, "embed_dim": 24, "depth": 1}
    theirs = timm.create_model(name, num_classes=0, img_size=48, **args)
    save_file({prefix + key: value for key, value in theirs.state_dict().items()}, tmp_path / "vit.safetensors")
    for size, tokens in ((48, 37), (32, 17)):
        model = fresh(f"timm/{name}", args | {"img_size": size}, 3)
        init = hashed(tmp_path / "vit.safetensors")
        assert opened(init, f"timm/{name}", args | {"img_size": size}).put_into(model, ["a"] * 3, [None] * 3) == 0
        assert torch.equal(model.backbone.blocks[0].mlp.fc1.weight, theirs.blocks[0].mlp.fc1.weight)
        assert model.backbone.pos_embed.shape == (1, tokens, 24)


PUBLISHED = {  # torchvision's: how it builds the network for its published weights, and how their file names tensors
    "mnasnet0_5": ({}, lambda key: key),
    "densenet121": ({}, lambda key: re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key)),
    "googlenet": ({"transform_input": True}, lambda key: key),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvisions_networks_give_what_they_give_in_their_own_library(name, tmp_path):
    args, renamed = PUBLISHED[name]
    torch.manual_seed(7)
    theirs = get_model(name, num_classes=3, **args).eval()
    save_file({renamed(key): value for key, value in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    images, (mean, std) = torch.rand(2, 3, 64, 64), (torch.tensor(v).view(1, 3, 1, 1) for v in NORMALISATION)
    for given in [{}, args] if args else [{}]:
        model, init = fresh(name, given, 3), hashed(tmp_path / "w.safetensors", classes=list("abc"))
        assert opened(init, name, given).put_into(model, list("abc"), [None] * 3) == 3
        told = {"backbone": name, "backbone_args": given, "classes": list("abc"), "image_size": 64}
        models.save(model, tmp_path / "saved", told)
        again, _ = models.load(tmp_path / "saved")
        assert torch.allclose(again(images), theirs((images - mean) / std), atol=1e-4)


def test_another_librarys_names_are_offered_by_order_and_taken_when_asked_for(tmp_path):
    torch.manual_seed(7)
    theirs = get_model("mobilenet_v2", num_classes=5)
    renamed = {f"net.{i}": value for i, value in enumerate(theirs.state_dict().values())}
    torch.save({k: v for k, v in renamed.items() if v.dtype != torch.int64}, tmp_path / "theirs.pth")
    init, model, classes = hashed(tmp_path / "theirs.pth"), fresh("mobilenet_v2", {}, 5), list("abcde")
    with pytest.raises(UserError, match=r"does not fit 'mobilenet_v2': .* missing, first .*set init.remap: true"):
        opened(init, "mobilenet_v2", {}).fitted(model.backbone)
    opened(init | {"remap": True, "classes": classes}, "mobilenet_v2", {}).put_into(model, classes, [None] * 5)
    assert torch.equal(model.backbone.classifier[1].weight, theirs.classifier[1].weight)
    assert torch.equal(model.backbone.features[18][0].weight, theirs.features[18][0].weight)


class Pwns:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_wrong_files_are_a_line_each_and_run_no_code(net, file, tmp_path):
    content = file.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"weight": Pwns(tmp_path / "pwned")}, tmp_path / "code.pth")
    torch.save({"epoch": 3, "losses": [1.0]}, tmp_path / "numbers.pth")
    state = net.state_dict()
    torch.save(state | {"fc.weight": state["fc.weight"].to_sparse()}, tmp_path / "sparse.pth")
    for dtype in (torch.int8, torch.float8_e4m3fn):
        save_file(state | {"fc.weight": state["fc.weight"].to(dtype)}, tmp_path / f"{dtype}.safetensors")
    save_file(state | {"fc.bias": state["fc.bias"] / 0}, tmp_path / "nan.safetensors")
    torch.jit.trace(net, torch.rand(1, 3, 32, 32)).save(tmp_path / "script.pt")
    torch.save({f"{who}.{k}": v for who in ("student", "teacher") for k, v in state.items()}, tmp_path / "two.pth")
    wrong = [
        (hashed(tmp_path / "cut.safetensors"), "is no whole checkpoint, nor a safetensors file that is named so"),
        (hashed(tmp_path / "text.pth"), r"is no whole checkpoint, nor a safetensors file .*\(its content is neither\)"),
        (hashed(tmp_path / "sparse.pth"), "holds no state dict, a dense tensor for each name"),
        (hashed(tmp_path / "torch.int8.safetensors"), "fc.weight is of torch.int8; use weights that are not quantized"),
        (hashed(tmp_path / "torch.float8_e4m3fn.safetensors"), "fc.weight is of torch.float8_e4m3fn; use weights"),
        (hashed(tmp_path / "nan.safetensors"), "nan.safetensors: fc.bias is not finite; use weights from before"),
        (hashed(tmp_path / "script.pt"), r"is no whole checkpoint, .*\(Cannot use .* TorchScript archives .* to \S+$"),
        ({"file": str(tmp_path), "sha256": "0" * 64}, "init.file: .* holds no model.safetensors or pytorch_model.bin"),
        (hashed(tmp_path / "two.pth"), "does not fit .* unknown, first student.conv1.weight; use weights of this"),
        (hashed(tmp_path / "code.pth"), r"holds code or objects beside tensors \(.*open"),
        (hashed(tmp_path / "numbers.pth"), "holds no state dict"),
        ({"file": "/no/such.pth", "sha256": "0" * 64}, "init.file: /no/such.pth does not exist"),
        ({"file": "$NOWHERE/x.pth", "sha256": "0" * 64}, "environment variable in it is not set"),
        ({"file": str(file), "sha256": "0" * 64}, f"init.sha256: .* has {digest(file)}, not 000"),
        ({"file": str(file), "sha256": None}, "init.sha256: missing; .* python -m scripts.weights"),
        (hashed(file, classes="imagenet-1k"), "init.classes: 1000 are known, but the head of .* has 10"),
        (hashed(file, classes="imagenette"), "init.classes: there is no 'imagenette'; it takes imagenet-1k"),
        (hashed(file, mean=[0.5], std=[0.5]), "is of images of 1 channels; use weights of images of three"),
        ({"model": str(tmp_path)}, "init.model: .* holds no model.safetensors"),
        ({"weights": "a9_in1k"}, "init.weights: timm has no 'a9_in1k' of resnet18; known: DEFAULT, .*a1_in1k"),
    ]
    for init, message in wrong:
        with refused(message):
            opened(init).fitted(net)
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(UserError, match="torchvision has no 'V9' of resnet18; known: IMAGENET1K_V1, DEFAULT"):
        opened({"weights": "V9"}, "resnet18", {})
    wide = timm.create_model("resnet18", channels=[16, 16, 16, 16], num_classes=10, stem_width=32)
    with pytest.raises(UserError, match=r"does not fit 'timm/resnet18': .* another shape, first layer1.0.conv1.weight"):
        opened(hashed(file)).fitted(wide)
    with pytest.raises(UserError, match=r"does not fit 'mobilenet_v2': .* unknown, first bn1.bias; use weights of"):
        opened(hashed(file), "mobilenet_v2", {}).fitted(get_model("mobilenet_v2"))


def test_a_name_without_a_network_is_a_line(tmp_path):
    """In a process of its own: the hub's client reads its environment once."""
    program = (
        "import sys; from hrrl.train.weights import Init, open_weights; from hrrl.errors import UserError\n"
        "named, net = {'weights': 'DEFAULT'}, 'timm/resnet18'\n"
        "for init, backbone in (({'hub': 'no/such@main'}, net), (named, net), (named, 'resnet18')):\n"
        "    try: open_weights(Init(**init), backbone, {}, 'pretrain.init')\n"
        "    except UserError as error: print(error)\n"
    )
    away = {name: str(tmp_path) for name in ("HF_HOME", "TORCH_HOME")}
    away |= {"HF_HUB_OFFLINE": "1", "https_proxy": "http://127.0.0.1:9"}
    done = run(sys.executable, "-c", program, **away)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    for line in lines:
        assert "is not on this machine and cannot be fetched" in line
        assert line.endswith("copy its file here, and name it by `file`")


def params(**changes) -> Params:
    pretrain = SMOKE["pretrain"] | changes.pop("pretrain", {})
    return Params.model_validate(SMOKE | changes | {"pretrain": pretrain})


def test_preflight_compares_weights_and_warns_of_what_destroys_them(tmp_path, capsys):
    smoke = SMOKE["pretrain"]
    made = models.build(smoke["backbone"], 5, smoke["backbone_args"])
    save_file(made.backbone.state_dict(), tmp_path / "w.safetensors")
    init, fast = hashed(tmp_path / "w.safetensors"), {"concept": {"hrrl": {"lam": 10.0, "c": 1.0, "s": 0}}}
    variants = SMOKE["variants"] | {"hrrl": fast, "erm": {"epochs": 0}} | CL_ANEW
    preflight.check(params(pretrain={"init": init, "lr": 0.1}, variants=variants))
    said = capsys.readouterr().err
    assert "pretrain.lr: 0.1 destroys" in said
    assert "variants.hrrl: without a slow start" in said
    slow = {"concept": {"hrrl": {"lam": 10.0, "c": 2.0, "s": 0}}}
    variants |= {"hrrl": {"concept": {"hrrl": {"lam": 10.0, "c": 2.0}}}, "cl": slow}
    adamw = {"init": init, "lr": 1e-3, "optimizer": "adamw", "momentum": None}
    searched = SMOKE["search"] | {"points": ["erm", "lam1", "lam0.5"], "c": "1/lam"}  # c: 1 and 2
    preflight.check(params(pretrain=adamw, variants=variants, search=searched))
    said = capsys.readouterr().err
    assert "pretrain.lr: 0.001 destroys" in said
    assert "variants.cl, search: without a slow start" in said
    preflight.check(params(pretrain={"init": init, "lr": 0.01}))
    assert "destroy" not in capsys.readouterr().err
    untrained = {name: variant | {"init": "none"} for name, variant in SMOKE["variants"].items()}
    untrained["erm"] = {"epochs": 0, "init": init}
    preflight.check(params(pretrain={"lr": 0.1}, variants=untrained))
    assert "destroy" not in capsys.readouterr().err
    save_file({"conv": torch.ones(1)}, tmp_path / "other.safetensors")
    other = SMOKE["variants"]["cl"] | {"init": hashed(tmp_path / "other.safetensors")}
    with pytest.raises(UserError, match=r"variants.cl.init: .* does not fit 'timm/resnet10t'"):
        preflight.check(params(variants=SMOKE["variants"] | {"cl": other}))


def test_cells_depend_on_the_hash_of_the_weights_that_they_start_from_and_not_on_their_place():
    def told(**init) -> dict:
        """Of each variant and stage, what is written of weights."""
        found = params(pretrain={"init": init}, variants=SMOKE["variants"] | CL_ANEW)
        section = found.as_dict()["pretrain"]
        stages = {stage: resolve.pretrain(section, stage) for stage in ("pretrain", "search_model")}
        return {name: resolve.variant(found, name) for name in ("erm", "cl")} | stages

    one, moved = told(file="/a/w.pth", sha256="0" * 64), told(file="/b/w.pth", sha256="0" * 64)
    other = told(file="/a/w.pth", sha256="1" * 64)
    assert one == moved
    assert {name for name in one if one[name] != other[name]} == {"erm", "search_model"}


def test_a_command_fills_the_hash_in_and_leaves_the_rest(file, tmp_path):
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    line = f"  init: {{file: {file}}}\n"
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("  epochs: 2\n", f"  epochs: 2\n{line}"), encoding="utf-8")
    fill(str(path))
    filled = line.replace("}", f", sha256: {digest(file)}}}")
    assert YAML(typ="safe").load(path)["pretrain"]["init"]["sha256"] == digest(file)
    assert path.read_text(encoding="utf-8") == text.replace("  epochs: 2\n", f"  epochs: 2\n{filled}")
