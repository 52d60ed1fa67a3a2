"""Every stage that trains or measures, on tiny real data, against plain loops over images and weights.

The stages run here, one after the other as dvc.yaml has them, until the test parts of the targets are needed: so far
the files of those are no images. What they write is compared with tests/reference.py.
"""

import contextlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from stages import (
    concepts,
    features,
    finetune,
    gallery,
    given,
    manifest,
    paths,
    pretrain,
    report,
    resolve,
    robustness,
    search,
    search_model,
    select,
    svm,
    theory,
    variants,
)
from stages.checkpoints import open_checkpoint
from stages.common import plain, read_params
from stages.inputs import start

import numpy as np
import pandas as pd
import pytest
import reference
import timm
import torch
from conftest import ROOT, edit
from PIL import Image
from safetensors.torch import load_file
from test_reporting import of

from hrrl import arithmetic, fast
from hrrl.data.augment import Augment
from hrrl.data.loading import open_split
from hrrl.errors import UserError
from hrrl.methods import theory as theorem
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.regret import gradient_norms, mean_regret, replay
from hrrl.settings import schema
from hrrl.train import models, weights
from hrrl.train.checkpoint import Checkpoint
from hrrl.transfer import svm as linear
from hrrl.transfer.smoothness import variance_factors

MADE = "HRRL_TESTS_MADE"  # environment variable: where to keep what all stages made, and the stage to run again then
SEED, TUNING = 3, 7
CONCEPTS, NAMES = [0, 0, 0, 0, 1, 0, 1, 1, 2, 0], ["many", "some", "few"]
COUNTS = [60, 30, 10]
CHANNELS = {"channels": [8, 8, 16, 16]}
SHIFTED, FLIPPED = {"crop": "padded", "padding": 1, "flip": False}, {"crop": "none", "flip": True}
GRID, STEPS = [0.0001, 0.001, 0.01, 0.1], [0.0, 0.2, 0.6]
TARGETS = {"odd": [1, 3, 5, 7, 9], "large": [9, 8, 7, 6]}  # name -> digits, in the order of their labels
TRAIN, TEST = [12, 11, 10, 10, 9], 20  # images of a target's classes
SHOTS = {"odd": 8}
LARGE_Q0 = np.array([12 + 1, 10 + 10 + 1, 11 + 1]) / (43 + 3)  # as if each concept had an image more

pytestmark = pytest.mark.usefixtures("_there")


def write_target(folder: Path, target: str) -> None:
    """A folder of images, as they are, of a training and a test part of other shares of the classes."""
    for split in ("train", "test"):
        for i, (image, label) in enumerate(zip(*images_of(target, split), strict=True)):
            file = folder / target / split / str(sorted(TARGETS[target])[label]) / f"{i:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.mul(255).round().byte()[0].numpy()).save(file)


def images_of(target: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A target's images in the order of its files: by class, as folders are sorted."""
    found = []
    for label, digit in enumerate(sorted(TARGETS[target])):
        number = TRAIN[TARGETS[target].index(digit)] if split == "train" else TEST
        x, _ = reference.digits(split, number, (digit,))
        found.append((x, torch.full((len(x),), label)))
    x, y = zip(*found, strict=True)
    return torch.cat(x), torch.cat(y)


def validation_images() -> tuple[torch.Tensor, torch.Tensor]:
    """The benchmark's: eight to eleven of each class, so that the concepts have other shares than in training."""
    return reference.digits("test", None, start=50)


def write_params(folder: Path) -> None:
    content = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(content, encoding="utf-8")
    for target in TARGETS:
        write_target(folder, target)
    kinds = ["mammal.n.01", "bird.n.01", "fish.n.01"]  # what stands for the digits of each concept

    def named(definition: dict, digits) -> dict:
        return definition | {"synsets": {str(digit): kinds[CONCEPTS[digit]] for digit in digits}}

    datasets = {"digits": named({"kind": "digits", "train": "train[:10]", "test": "test[50:]"}, range(10))}
    for target, digits in TARGETS.items():
        datasets[target] = named({"kind": "imagefolder", "root": target}, digits)
    hrrl = {"lam": 0.5, "c": 2.0, "s": 4, "q0": "target:large"}
    runs = {step: ["erm", "hrrl"] for step in ("pretrain", "svm", "finetune")}
    pretrained = {"epochs": 4, "batch_size": 25, "lr": 0.05, "milestones": [3], "weight_decay": 0.01, "momentum": 0.8}
    pretrained |= {"backbone": "timm/resnet18", "backbone_args": CHANNELS, "image_size": 8, "augment": SHIFTED}
    tuned = {"batch_size": 20, "lr": 0.02, "milestones": [4], "weight_decay": 0.02, "momentum": 0.7}
    edit(
        folder,
        seeds=[SEED],
        benchmark="digits",
        targets=list(TARGETS),
        shifts=dict.fromkeys(TARGETS, "images"),
        claims=[],
        headline="hrrl",
        datasets=datasets,
        concepts=[{"name": name, "synset": synset} for name, synset in zip(NAMES, kinds, strict=True)],
        variants={"erm": {}, "hrrl": {"example": {"gradient": {"tau": "searched"}}, "concept": {"hrrl": hrrl}}},
        runs=runs | {"given": ["erm"], "searched": ["hrrl"]},
        pretrain=pretrained,
        compute__precision="float32",
        compute__device="cpu",
        compute__arithmetic="native",
        compute__channels_last=False,
        compute__fast=False,
        search={"seeds": [TUNING], "c": 2.0, "s": 4, "points": ["erm", "tau0.3_lam0.5", "tau0.1_lam0.5"]},
        svm={"C": GRID, "folds": 3, "shots": SHOTS, "draws": 2, "max_iter": 10000},
        finetune={"steps": 6, "eval_every": 2, "augment": FLIPPED} | tuned,
        robustness={"steps": STEPS},
        theory={"mu": [50.0, 100.0], "s_max": 200, "batches": 5},
    )


def without_test_parts(params) -> list[tuple]:
    """(stage, arguments) of the cells that need no test image of a target, in dvc.yaml's order."""
    points = [(point, str(TUNING)) for point in params.search.points]
    runs = [(variant, str(SEED)) for variant in params.runs.pretrain]
    cells: list[tuple] = [(concepts, ())]
    cells += [(stage, point) for stage in (search_model, search) for point in points]
    cells += [(given, ("erm",)), (select, ("hrrl",))]
    return cells + [(stage, run) for stage in (pretrain, robustness) for run in runs] + [(theory, ())]


def final_scores(params) -> list[tuple]:
    stages = (features, svm, finetune)
    return [(stage, (variant, str(SEED))) for stage in stages for variant in params.runs.svm] + [(gallery, ())]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder in which every stage has run; the targets' test images were none until the final scores."""
    folder = tmp_path_factory.mktemp("project")
    made, _, stage = os.environ.get(MADE, "").rpartition(os.pathsep)
    if os.path.isdir(made):
        one_stage_again(folder, made, stage)
    else:
        every_stage(folder)
        if made:
            shutil.copytree(folder, made)
    return folder


def every_stage(folder: Path) -> None:
    write_params(folder)
    with contextlib.chdir(folder):
        resolve.main(schema.load())
        params = read_params()
        for target in (None, *TARGETS):
            manifest.main(params, target)
        kept = {file: file.read_bytes() for target in TARGETS for file in (folder / target / "test").rglob("*.png")}
        for file in kept:
            file.write_bytes(b"no image")
        for stage, arguments in without_test_parts(params):
            stage.main(params, *arguments)
        with pytest.raises(UserError, match=r"has 8 bytes, the manifest says"):
            features.main(params, "erm", str(SEED))
        for file, content in kept.items():
            file.write_bytes(content)
        for stage, arguments in final_scores(params):
            stage.main(params, *arguments)


def one_stage_again(folder: Path, made: str, name: str) -> None:
    """In a copy of a folder that is made, for benchmarks/mutants.py, whose mistakes are in that stage."""
    shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".work"))
    several = {"pretrain": ["models"], "robustness": ["data/robustness", "data/smoothness"]}
    for output in several.get(name, [f"data/{name}"]):
        shutil.rmtree(folder / output, ignore_errors=True)
    with contextlib.chdir(folder):
        params = read_params()
        for stage, arguments in without_test_parts(params) + final_scores(params):
            if stage.__name__ == f"stages.{name}":
                stage.main(params, *arguments)


@contextlib.contextmanager
def holding(file: Path, content: bytes):
    """A file that has this content inside, and its own again afterwards."""
    before = file.read_bytes()
    file.write_bytes(content)
    yield
    file.write_bytes(before)


@pytest.fixture
def _there(project, monkeypatch):
    monkeypatch.chdir(project)


def fresh() -> reference.Net:
    return reference.Net(timm.create_model("resnet18", num_classes=10, **CHANNELS))


def model_in(folder: Path) -> reference.Net:
    """The network that a stage has written, by timm and safetensors alone."""
    net = fresh()
    net.net.load_state_dict(load_file(folder / "model.safetensors"))
    return net.eval()


def model_of(variant: str) -> reference.Net:
    return model_in(paths.model_folder(variant, SEED))


def features_by_loop(net: reference.Net, target: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = images_of(target, split)
    with torch.no_grad():
        return net.features(x).numpy(), y.numpy()


def validated(net: reference.Net, target: str, max_iter: int = 10_000) -> float:
    """Accuracy (%) of the best C by cross-validation, a mean over draws; test_svm.py has scikit-learn's beside it."""
    x, y = features_by_loop(net, target, "train")
    draws = linear.draws(y, SHOTS.get(target), 2)
    with fast.switched(False):
        found = [linear.cross_validate(x[rows], y[rows], GRID, 3, i, max_iter) for i, rows in enumerate(draws)]
    return np.mean([choice.accuracy for choice in found])


def trained_plainly(seed: int, **settings) -> tuple[reference.Algorithm1, list[float]]:
    """Pretraining by the plain loop, from the weights that the seed gives; and the mean losses of its epochs."""
    torch.manual_seed(seed)
    loop = reference.Algorithm1(fresh(), COUNTS, CONCEPTS, momentum=0.8, decay=0.01, **settings)
    source = open_split(paths.dataset_folder(), None, "train", 8)
    losses = []
    for epoch in range(4):
        of_epoch = []
        for x, y, _ in source.train_batches(25, Augment(**SHIFTED), seed, epoch):
            of_epoch += loop.step(x / 255, y, 0.05 if epoch < 3 else 0.005)
        losses.append(np.mean(of_epoch))
    return loop, losses


def same_weights(folder: Path, net: reference.Net) -> None:
    found = load_file(folder / "model.safetensors")
    expected = net.net.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-2, atol=2e-3, msg=name)


RUNS = {"erm": {}, "hrrl": {"lam": 0.5, "c": 2.0, "s": 4, "q0": LARGE_Q0}}


@pytest.mark.parametrize("variant", RUNS)
def test_pretraining_is_algorithm_1_from_the_seeds_weights(variant):
    settings = RUNS[variant] and RUNS[variant] | {"tau": best_point()[0]}
    loop, losses = trained_plainly(SEED, **settings)
    folder = paths.model_folder(variant, SEED)
    same_weights(folder, loop.net)
    history = pd.read_csv(folder / "history.csv")
    assert history.train_loss.tolist() == pytest.approx(losses, rel=1e-3)
    assert len(pd.read_csv(paths.measured_speed(read_params(), variant, SEED))) == 4
    x, y = validation_images()
    for name, value in reference.measured(loop.net, x, y, CONCEPTS, NAMES).items():
        assert history[name].iloc[-1] == pytest.approx(value, rel=1e-2, abs=2), name
    with np.load(folder / "trace.npz") as trace:
        np.testing.assert_allclose(trace["terms"], [terms for terms, *_ in loop.trace], rtol=2e-2, atol=1e-3)
        expected = [q for _, q, _ in loop.trace] if settings else [np.array(COUNTS) / 100] * 16
        np.testing.assert_allclose(trace["q"], expected, atol=1e-3)
    found = paths.read_json(folder / "model.json")
    expected = {"seed": SEED, "classes": list("0123456789"), "image_size": 8, "benchmark": "digits"}
    assert found | expected | {"variant": {variant: variants.variant_spec(variant)}} == found
    assert found["pretrain"]["epochs"] == 4


NEITHER = {"example": None, "concept": None}  # axis


def pretrained(folder: Path, seed: int = SEED, spec: dict = NEITHER, **changes) -> None:
    """By the settings of ERM with changes."""
    settings, _ = variants.training(read_params(), "erm")
    pretrain.train(read_params(), folder.name, seed, spec, (type(settings)(settings | changes), None), folder)


def test_training_starts_from_given_weights(capsys):
    """Without any step, which is the variant's own number of them, it ends with them."""
    params, folder = read_params(), paths.model_folder("hrrl", SEED)
    paths.write_json(paths.resolved("variants", "started"), NEITHER | {"epochs": 0, "init": None})
    paths.write_json(paths.selected("started"), NEITHER)
    settings, _ = variants.training(params, "started")
    assert report.own_training(params, "started", {**settings, "epochs": 4}) == {"epochs": 0}
    described, wnids = paths.dataset_folder() / "dataset.json", [f"n0000000{i}" for i in range(10)]
    init = {"model": str(folder), "sha256": weights.digest(folder / "model.safetensors"), "classes": wnids}
    paths.write_json(paths.STARTS, {"started": {"init": init, "key": "pretrain.init"}})
    known = json.dumps(paths.read_json(described) | {"wnids": wnids})  # by which the head's classes are known here
    with holding(described, known.encode()):
        pretrain.main(params, "started", SEED)
    assert paths.read_json(paths.model_folder("started", SEED) / "model.json")["pretrain"]["epochs"] == 0
    same = [load_file(model / "model.safetensors") for model in (folder, paths.model_folder("started", SEED))]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0].keys() | same[1].keys())
    assert "10 of 10 classes keep their row of the head" in capsys.readouterr().out


def test_the_average_of_the_weights_is_what_is_saved_and_measured(tmp_path):
    params = read_params()
    pretrained(tmp_path / "averaged", epochs=1, ema=0.9)
    found = reference.measured(model_in(tmp_path / "averaged"), *validation_images(), CONCEPTS, NAMES)
    assert found["val_loss"] == pytest.approx(pd.read_csv(tmp_path / "averaged/history.csv").val_loss.item(), rel=1e-3)
    averaged = type(params)(params | {"finetune": params.finetune | {"ema": 0.9}})
    with start(averaged) as here:
        rows, hits = finetune.curve(averaged, here, "erm", SEED, "odd", Checkpoint(tmp_path / "tuned", {}))
    assert 100 * (1 - hits.mean()) == pytest.approx(rows[-1]["test_error"])


def test_fine_tuning_goes_on_from_nothing_but_its_own_inputs():
    def key(seed=SEED) -> dict:
        return finetune.checkpoint(read_params(), "erm", seed, "odd").key

    before, model = key(), paths.model_folder("erm", SEED)
    assert key("4")["params"] != before["params"]
    for file in (paths.dataset_folder("odd") / "manifest.csv", model / "model.safetensors", model / "model.json"):
        with holding(file, file.read_bytes() + b" "):
            assert key()["data"] != before["data"]
    assert key() == before
    params = read_params()
    for section in ("finetune", "compute", "launch"):
        changed = type(params)(params | {section: params[section] | {"threads": 7, "lr": 7.0}})
        assert finetune.checkpoint(changed, "erm", SEED, "odd").key["params"] != before["params"]


def test_pretraining_goes_on_from_nothing_but_its_own_inputs(tmp_path, monkeypatch):
    keys = []

    def kept(*given):
        keys.append(open_checkpoint(*given).key)
        return open_checkpoint(*given)

    monkeypatch.setattr(pretrain, "open_checkpoint", kept)
    cvar = NEITHER | {"concept": {"cvar": {"alpha": 0.5}}}
    for seed, spec, lr in ((3, NEITHER, 0.05), (4, NEITHER, 0.05), (3, cvar, 0.05), (3, NEITHER, 0.04)):
        pretrained(tmp_path / "run", seed, spec, epochs=0, lr=lr)
    for file in (paths.dataset_folder() / "dataset.json", paths.CONCEPTS / "benchmark.json"):
        with holding(file, file.read_bytes() + b" "):
            pretrained(tmp_path / "run", epochs=0)
    pretrained(tmp_path / "run", epochs=0)
    first, *others, last = keys
    assert last == first
    changed = [[part for part in first if first[part] != other[part]] for other in others]
    assert changed == [["params"]] * 3 + [["data"]] * 2
    assert first["device"] == f"float32 on {arithmetic.cpu()}"


def test_runs_that_are_finished_leave_no_checkpoint():
    assert not list(paths.WORK.rglob("epoch-*.pt"))


POINTS = {"erm": {}, "tau0.3_lam0.5": {"tau": 0.3, "lam": 0.5, "c": 2.0, "s": 4}}


@pytest.mark.parametrize("point", POINTS)
def test_a_point_of_the_search_is_trained_with_its_numbers_and_seed(point):
    loop, _ = trained_plainly(TUNING, **POINTS[point])
    same_weights(paths.search_model(point, TUNING), loop.net)


@pytest.mark.parametrize("variant", RUNS)
@pytest.mark.parametrize("target", TARGETS)
def test_fine_tuning_is_sgd_from_the_pretrained_weights(variant, target):
    """Each target alone, with a new head that the seed gives; test errors and mean losses of every two steps."""
    table = pd.read_csv(paths.measured("finetune", variant, SEED, ".csv"))
    assert table.target.tolist() == [name for name in TARGETS for _ in range(3)]
    table = table[table.target == target]
    net, classes = model_of(variant), len(TARGETS[target])
    torch.manual_seed(SEED)
    net.net.fc = torch.nn.Linear(16, classes)
    train = reference.Algorithm1(net, [1] * classes, range(classes), momentum=0.7, decay=0.02)
    source = open_split(paths.dataset_folder(target), str(Path(target).resolve()), "train", 8)
    batches = [batch for epoch in range(6) for batch in source.train_batches(20, Augment(**FLIPPED), SEED, epoch)][:6]
    x, y = images_of(target, "test")
    losses, errors = [], []
    for step, (images, labels, _) in enumerate(batches, 1):
        losses += train.step(images / 255, labels, 0.02 if step <= 4 else 0.002)
        errors.append(100 - reference.measured(net, x, y, [0] * classes, ["all"])["val_accuracy"])
    assert table.step.tolist() == [2, 4, 6]
    assert table.train_loss.tolist() == pytest.approx(np.reshape(losses, (3, 40)).mean(1).tolist(), rel=1e-3)
    with np.load(paths.measured("finetune", variant, SEED, ".npz")) as kept:
        assert 100 * (1 - kept[target].mean()) == pytest.approx(table.test_error.iloc[-1])
    assert table.test_error.tolist() == pytest.approx(errors[1::2], abs=1.1)  # of 80 images, or 100


def test_concepts_are_counted_on_training_parts():
    folder = paths.CONCEPTS
    table = pd.read_csv(folder / "concepts.csv")
    assert table.concept.tolist() == NAMES
    assert (table.classes.tolist(), table.images.tolist()) == ([6, 3, 1], COUNTS)
    assert table.q0.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert paths.read_json(folder / "benchmark.json") == {"names": NAMES, "ids": CONCEPTS}
    assert paths.read_json(paths.q0_file("hrrl")) == pytest.approx(LARGE_Q0.tolist())
    shares = pd.read_csv(folder / "targets.csv")
    for target, digits in TARGETS.items():
        expected = dict.fromkeys(NAMES, 0.0)
        for digit, number in zip(digits, TRAIN, strict=False):
            expected[NAMES[CONCEPTS[digit]]] += number / sum(TRAIN[: len(digits)])
        found = shares[shares.target == target].set_index("concept").share.to_dict()
        assert found == pytest.approx({name: share for name, share in expected.items() if share})


Q0 = [("empirical", [0.6, 0.3, 0.1]), ("uniform", [1 / 3] * 3), ("target:large", LARGE_Q0), (None, None)]
Q0 += [({"few": 0.2, "many": 0.3, "some": 0.5}, [0.3, 0.5, 0.2])]


@pytest.mark.parametrize(("setting", "expected"), Q0)
def test_a_reference_distribution_is_in_the_concepts_order(setting, expected):
    variant = {"example": None, "concept": {"hrrl": {"lam": 1.0, "q0": setting}}}
    paths.write_json(paths.resolved("variants", "other"), variant)
    params, table = read_params(), pd.read_csv(paths.CONCEPTS / "concepts.csv")
    found = concepts.q0(params, "other", table, plain(params.concepts))
    assert found is expected or found == pytest.approx(expected)


@pytest.mark.parametrize("max_iter", [1, 10_000])
def test_the_most_iterations_are_those_of_the_settings(max_iter):
    params = read_params()
    settings = SimpleNamespace(**params.svm | {"max_iter": max_iter})
    with np.load(paths.measured("features", "erm", SEED) / "large.npz") as data:
        [score] = svm.scores(SimpleNamespace(**vars(settings) | {"C": GRID[-1:]}), data, None)  # which takes longest
    assert score.converged == all(score.choice.converged.values()) == (max_iter > 1)
    source, model = open_split(paths.dataset_folder("odd"), str(Path("odd").resolve()), "train", 8), model_of("erm")
    changed = SimpleNamespace(svm=settings, compute=params.compute)
    with start(params) as here:
        found = search.accuracy(changed, here, models.load(paths.model_folder("erm", SEED))[0], source, "odd")
    assert found == pytest.approx(validated(model, "odd", max_iter))


def as_a_plain_loop_measures(found: dict, net: reference.Net) -> list[dict]:
    """Compares accuracies on moved images and of concepts with a plain loop's, of which it returns each step's."""
    x, y = validation_images()
    rows = [reference.measured(net, reference.moved(net, x, y, step), y, CONCEPTS, NAMES) for step in STEPS]
    assert [row["step_size"] for row in found["steps"]] == STEPS
    assert [row["accuracy"] for row in found["steps"]] == pytest.approx([row["val_accuracy"] for row in rows])
    assert found["concepts"] == pytest.approx({name: rows[0][f"accuracy_{name}"] for name in NAMES})
    return rows


@pytest.mark.parametrize("variant", RUNS)
def test_robustness_is_accuracy_on_moved_images_and_of_concepts(variant):
    found = paths.read_json(paths.measured("robustness", variant, SEED, ".json"))
    net, (x, y) = model_of(variant), validation_images()
    rows = as_a_plain_loop_measures(found, net)
    assert len({row["val_accuracy"] for row in rows}) == len(STEPS)  # each step moves images, and far enough
    with np.load(paths.measured("robustness", variant, SEED, ".npz")) as kept:
        assert kept["concepts"].tolist() == [CONCEPTS[label] for label in y.tolist()]
        assert kept["concepts"].dtype == np.int32
        for step, row in zip(STEPS, rows, strict=True):
            right = np.unpackbits(kept[f"{step:g}"], count=len(y))
            assert 100 * right.mean() == pytest.approx(row["val_accuracy"])
    x = x.clone().requires_grad_()
    losses = torch.nn.functional.cross_entropy(net(x), y, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    with np.load(paths.measured("smoothness", variant, SEED, ".npz")) as kept:
        np.testing.assert_allclose(kept["gradient"], gradient.flatten(1).norm(dim=1), rtol=1e-3, atol=1e-6)
        assert kept["L"].shape == (len(y),)
        factors = variance_factors(losses.detach().double().numpy(), np.array(CONCEPTS)[y], np.array(COUNTS))
        np.testing.assert_allclose(kept["variance_factors"], factors, rtol=1e-2)


def test_a_concept_without_validation_images_has_no_accuracy():
    task = SimpleNamespace(test_concepts=torch.tensor([0, 2, 0, 0]), names=["a", "none", "c"])
    hits = {0.0: np.array([True, False, False, True]), 0.5: np.array([False, False, False, True])}
    assert robustness.accuracies(hits, task) == {
        "steps": [{"step_size": 0.0, "accuracy": 50.0}, {"step_size": 0.5, "accuracy": 25.0}],
        "concepts": {"a": pytest.approx(200 / 3), "c": 0.0},
    }


@pytest.mark.parametrize("variant", RUNS)
@pytest.mark.parametrize("target", TARGETS)
def test_features_are_what_the_last_layer_gets(variant, target):
    with np.load(paths.measured("features", variant, SEED) / f"{target}.npz") as data:
        for split in ("train", "test"):
            x, y = features_by_loop(model_of(variant), target, split)
            np.testing.assert_allclose(data[f"{split}_x"], x, rtol=1e-3, atol=1e-4)
            np.testing.assert_array_equal(data[f"{split}_y"], y)


@pytest.mark.parametrize("variant", RUNS)
@pytest.mark.parametrize("target", TARGETS)
def test_scores_are_of_each_draw_of_the_training_part(variant, target):
    """Of features from the files; test_svm.py compares scores with scikit-learn's."""
    folder = paths.measured("svm", variant, SEED)
    found = paths.read_json(folder / "scores.json")[target]
    with np.load(paths.measured("features", variant, SEED) / f"{target}.npz") as data:
        x, y, *test = (data[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    draws = linear.draws(y, SHOTS.get(target), 2)
    with fast.switched(False):
        scores = [linear.evaluate(x[rows], y[rows], *test, GRID, 3, i, 10_000) for i, rows in enumerate(draws)]
    for row, score in zip(found["draws"], scores, strict=True):
        expected = asdict(score.choice) | {"validation_accuracy": score.choice.accuracy, "accuracy": score.accuracy}
        expected["converged"] |= {"refit": score.converged}
        assert row == expected | {"n_train": score.n_train, "n_test": len(score.hits)}
    assert found["accuracy"] == pytest.approx(np.mean([score.accuracy for score in scores]))
    assert found["validation"] == pytest.approx(np.mean([score.choice.accuracy for score in scores]))
    with np.load(folder / "hits.npz") as hits:
        np.testing.assert_allclose(hits[target], np.mean([score.hits for score in scores], axis=0))


def searched(point: str) -> dict:
    return paths.read_json(paths.measured("search", point, TUNING, ".json"))


def best_point() -> tuple[float, float]:
    """tau and lam of the point with both axes that scored best on the training parts."""
    params, scores = read_params(), {}
    for point in params.search.points[1:]:
        found = searched(point)
        scores[found["tau"], found["lam"]] = np.mean(list(found["targets"].values()))
    return max(scores, key=lambda point: (scores[point], -point[0]))


@pytest.mark.parametrize("point", POINTS)
def test_a_point_of_the_search_is_scored_on_training_parts(point):
    found, net = searched(point), model_in(paths.search_model(point, TUNING))
    for target in TARGETS:
        assert found["targets"][target] == pytest.approx(validated(net, target))
    still, *_ = as_a_plain_loop_measures(found, net)
    assert found["benchmark"] == pytest.approx(still["val_accuracy"])
    assert found["loss"] == pytest.approx({name: still[f"loss_{name}"] for name in NAMES}, rel=1e-3)
    assert found["seed"] == TUNING
    assert (found["tau"], found["lam"]) == (POINTS[point].get("tau"), POINTS[point].get("lam"))


def test_the_best_point_on_training_parts_is_selected():
    spec = paths.read_json(paths.selected("hrrl"))
    assert spec["example"] == {"gradient": {"tau": best_point()[0]}}
    assert spec["concept"]["hrrl"]["lam"] == 0.5
    params = read_params()
    point = params.search.points[1]
    assert select.cell(params, point, TUNING) == searched(point)
    fewer = select.cell(SimpleNamespace(**params | {"targets": ["large"]}), point, TUNING)
    assert list(fewer["targets"]) == ["large"]


def pairs(frame: pd.DataFrame, key: str, value: str, **where) -> dict:
    rows = of(frame, **where)
    return dict(zip(rows[key], rows[value], strict=True))


def test_a_report_gathers_what_the_stages_wrote():
    """Each number of each file in the place that its file's name says; all files differ."""
    params = read_params()
    found = report.gather(params)
    assert (found.compared, list(found.variants), found.headline) == (list(RUNS), list(RUNS), "hrrl")
    assert found.target_kinds == dict.fromkeys(TARGETS, "imagefolder")
    whole = paths.read_json(paths.resolved("datasets", "odd"))
    for change in ({"classes": ["1", "3"]}, {"resolution": 4}, {"train": "train[:5]"}, {"test": "test[:5]"}):
        paths.write_json(paths.resolved("datasets", "part"), whole | change)
        assert report.official_kind(params, "part") == ""  # nothing for the paper's numbers to stand beside
        assert concepts.is_part("part") == ("resolution" not in change)  # its CSV may have lines of other images
    assert found.variants["hrrl"] == paths.read_json(paths.selected("hrrl"))
    for variant in RUNS:
        scores = paths.read_json(paths.measured("svm", variant, SEED) / "scores.json")
        hits = found.correct, paths.measured("svm", variant, SEED) / "hits.npz"
        tuned = found.finetune_correct, paths.measured("finetune", variant, SEED, ".npz")
        for target in TARGETS:
            for i, draw in enumerate(scores[target]["draws"]):
                [row] = of(found.svm, target=target, variant=variant, seed=SEED, draw=i).to_dict("records")
                draw |= {"validation": draw["validation_accuracy"], "converged": all(draw["converged"].values())}
                assert all(row[key] == draw[key] for key in ("accuracy", "validation", "C", "edge", "converged"))
            for where, file in (hits, tuned):
                with np.load(file) as kept:
                    np.testing.assert_array_equal(where[target, variant, SEED], kept[target])
        for frame, file in (
            (found.history, paths.model_folder(variant, SEED) / "history.csv"),
            (found.finetune, paths.measured("finetune", variant, SEED, ".csv")),
        ):
            expected = pd.read_csv(file)
            own = of(frame, variant=variant, seed=SEED)[expected.columns]
            np.testing.assert_array_equal(own.to_numpy(), expected.to_numpy())
        robust = paths.read_json(paths.measured("robustness", variant, SEED, ".json"))
        accuracies = pairs(found.robustness, "step_size", "accuracy", variant=variant)
        assert accuracies == {row["step_size"]: row["accuracy"] for row in robust["steps"]}
        moved, concept = found.moved_correct[variant, SEED], np.array(found.validation_concepts)
        assert {size: 100 * hits.mean() for size, hits in moved.items()} == pytest.approx(accuracies)
        assert pairs(found.concept_accuracy, "concept", "accuracy", variant=variant) == robust["concepts"]
        for k, name in enumerate(NAMES):
            assert 100 * moved[0.0][concept == k].mean() == pytest.approx(robust["concepts"][name])
        with np.load(paths.measured("smoothness", variant, SEED, ".npz")) as kept:
            rows = of(found.smoothness, variant=variant)
            assert (rows.gradient.tolist(), rows.L.tolist()) == (kept["gradient"].tolist(), kept["L"].tolist())
            factors = dict(zip(NAMES, kept["variance_factors"], strict=True))
            assert pairs(found.variances, "concept", "factor", variant=variant) == factors
    for point, row in zip(params.search.points, found.search.to_dict("records"), strict=True):
        cell = searched(point)
        assert {target: row[f"accuracy_{target}"] for target in TARGETS} == cell["targets"]
        assert (row["seed"], row["benchmark"]) == (TUNING, cell["benchmark"])
        numbers = {key: row[key] for key in ("tau", "lam") if row[key] == row[key]}
        assert numbers == {key: cell[key] for key in ("tau", "lam") if cell[key] is not None}
    cell = searched("tau0.3_lam0.5")
    accuracies = pairs(found.search_steps, "step_size", "accuracy", tau=0.3)
    assert accuracies == {row["step_size"]: row["accuracy"] for row in cell["steps"]}
    assert pairs(found.search_concepts, "concept", "accuracy", tau=0.3) == cell["concepts"]
    file = paths.measured("svm", "erm", SEED) / "scores.json"
    with holding(file, file.read_bytes().replace(b'"refit": true', b'"refit": false')):
        assert report.gather(params).svm.groupby("variant").converged.all().to_dict() == {"erm": False, "hrrl": True}
    scored = params.runs | {"svm": ["hrrl"]}
    fewer = report.gather(type(params)(params | {"targets": ["large"], "runs": scored}))
    assert set(fewer.finetune.target) == set(fewer.svm.target) == {"large"}
    assert (fewer.compared, list(fewer.variants)) == (["hrrl"], list(RUNS))


def test_runs_of_several_seeds_keep_their_own_numbers(project, tmp_path, monkeypatch):
    """With a second seed, in whose files each variant has what the other has of the first; and a second tuning seed."""
    monkeypatch.chdir(shutil.copytree(project, tmp_path / "two", ignore=shutil.ignore_patterns(".work", "cache")))
    params, other = read_params(), dict(zip(RUNS, reversed(RUNS), strict=True))
    places = [paths.MODELS, *(paths.DATA / name for name in ("svm", "finetune", "robustness", "smoothness"))]
    for variant, file in [(v, file) for v in RUNS for place in places for file in place.glob(f"{other[v]}-{SEED}*")]:
        copy = shutil.copytree if file.is_dir() else shutil.copy
        copy(file, file.with_name(file.name.replace(f"{other[variant]}-{SEED}", f"{variant}-4")))
    best, _ = best_point()
    for point in params.search.points:
        cell = searched(point)
        targets = dict.fromkeys(TARGETS, 0.0 if cell["tau"] == best else 100.0)
        paths.write_json(paths.measured("search", point, 8, ".json"), cell | {"seed": 8, "targets": targets})
    params = type(params)(params | {"seeds": [SEED, 4], "search": params.search | {"seeds": [TUNING, 8]}})
    found = report.gather(params)
    frames = (found.svm, found.history, found.finetune, found.robustness, found.concept_accuracy, found.variances)
    for frame in (*frames, found.smoothness):
        for variant in RUNS:
            runs = of(frame, variant=variant, seed=4), of(frame, variant=other[variant], seed=SEED)
            one, two = (run.drop(columns=["variant", "seed"]).reset_index(drop=True) for run in runs)
            pd.testing.assert_frame_equal(one, two)
            assert len(frame) == 4 * len(one) > 0
    for kept in (found.correct, found.finetune_correct):
        assert len(kept) == 8
        for (target, variant, seed), hits in kept.items():
            np.testing.assert_array_equal(hits, kept[target, other[variant], 4 if seed == SEED else SEED])
    for variant in RUNS:
        np.testing.assert_equal(found.moved_correct[variant, 4], found.moved_correct[other[variant], SEED])
    runs = list(theory.recorded(params))
    assert [run[:2] for run in runs] == [("hrrl", SEED), ("hrrl", 4)]
    with np.load(paths.model_folder("erm", SEED) / "trace.npz") as trace:
        np.testing.assert_array_equal(runs[1][3], trace["terms"])
    assert found.search.seed.tolist() == [TUNING, 8] * 3
    select.main(params, "hrrl")
    assert paths.read_json(paths.selected("hrrl"))["example"]["gradient"]["tau"] != best


def test_a_gallery_has_the_last_q_and_the_features_of_each_model():
    """The baseline moves its images; what q weights is shown with the losses of the model that has it."""
    content, (x, y) = paths.read_json(paths.DATA / "gallery/gallery.json"), validation_images()
    assert [content[key] for key in ("seed", "baseline", "headline")] == [SEED, *RUNS]
    losses = [torch.nn.functional.cross_entropy(model_of(v)(x), y, reduction="none").detach().numpy() for v in RUNS]
    for image in content["moves"]:
        assert np.abs(losses[0] - image["rows"][0]["loss"]).min() < 1e-3
    for shown in (content["weights"][key] for key in ("most", "least")):
        own = [NAMES[CONCEPTS[label]] == shown["name"] for label in y.tolist()]
        assert shown["loss"] == pytest.approx(losses[1][own].mean(), rel=1e-3)
    params = read_params()
    assert gallery.weighted(params, "erm", SEED, NAMES) is None
    last = pd.read_csv(paths.model_folder("hrrl", SEED) / "history.csv").to_dict("records")[-1]
    q = gallery.weighted(params, "hrrl", SEED, NAMES)
    assert q == {name: last[f"q_{name}"] for name in NAMES} != pytest.approx(dict(zip(NAMES, LARGE_Q0, strict=True)))
    found = gallery.features(params, list(RUNS), SEED)
    for variant in RUNS:
        for target in TARGETS:
            x, _ = features_by_loop(model_of(variant), target, "test")
            np.testing.assert_allclose(found[variant][target]["test_x"], x, rtol=1e-3, atol=1e-4)


def theory_table(name: str) -> pd.DataFrame:
    return pd.read_csv(paths.DATA / "theory" / f"{name}.csv")


def recorded() -> tuple[np.ndarray, np.ndarray]:
    with np.load(paths.model_folder("hrrl", SEED) / "trace.npz") as trace:
        return trace["terms"], trace["q"]


def test_theorem_3s_suggestions_are_of_the_longest_gradients():
    """By formulas that test_theory.py compares with brute force, as all below."""
    norms = gradient_norms(*recorded(), LARGE_Q0, 0.5)
    [row] = theory_table("suggestions").to_dict("records")
    assert (row["variant"], row["lam"], row["s"], row["c"], row["batches"]) == ("hrrl", 0.5, 4, 2.0, 5)
    assert (row["mu"], row["mu_run"]) == pytest.approx((norms[:5].max(), norms.max()))
    assert row["implied_mu"] == pytest.approx(theorem.implied_mu(4, 2.0, 0.5))
    assert (row["suggested_s"], row["suggested_c"]) == pytest.approx(theorem.slow_start(row["mu"], 0.5))


def test_mu_is_of_the_first_batches_and_of_the_longest_of_several_seeds():
    params = SimpleNamespace(theory=SimpleNamespace(batches=3, mu=[], s_max=9))
    q = np.tile([0.6, 0.4], (5, 1))
    rising = np.arange(1, 6)[:, None] * [3.0, 4.0]  # norms of 5, 10, ...
    scales = ((0, 1), (1, 0.5))
    runs = [("v", seed, ConceptDistribution([6, 4], 0.5, 2.0, 2), rising * scale, q) for seed, scale in scales]
    for order in (runs, runs[::-1]):
        [row] = theory.suggestions(params, order).to_dict("records")
        assert (row["mu"], row["mu_run"], row["batches"]) == (pytest.approx(15), pytest.approx(25), 3)
        assert row["suggested_s"] == theorem.best_s(15, 0.5)
        assert theory.curves(params, pd.DataFrame([row])).mu.unique().tolist() == [row["mu"]]
    few = [("v", 0, ConceptDistribution([6, 4], 0.5, 2.0, 1), rising[:2] / 100, q[:2])]
    [row] = theory.suggestions(params, few).to_dict("records")
    assert (row["mu"], row["mu_run"], row["batches"]) == (pytest.approx(0.1), pytest.approx(0.1), 2)
    assert np.isnan(row["implied_mu"])  # Theorem 3 has none for s = 1


def test_regret_along_the_run_is_that_of_its_records():
    """Of the q that it had, and of c = 1 on the same losses."""
    terms, q = recorded()
    plain = replay(ConceptDistribution(COUNTS, 0.5, 1.0, 0, LARGE_Q0), terms)
    table, steps = theory_table("regret"), np.arange(1, 17)
    assert set(zip(table.c, table.s, strict=True)) == {(2.0, 4), (1.0, 0)}
    for (c, s), course in {(2.0, 4): q, (1.0, 0): plain}.items():
        rows = table[(table.c == c) & (table.s == s)]
        assert rows.steps.tolist() == steps.tolist()
        mu = gradient_norms(terms, course, LARGE_Q0, 0.5).max()
        np.testing.assert_allclose(rows.regret, mean_regret(terms, course, LARGE_Q0, 0.5, steps), atol=1e-6)
        np.testing.assert_allclose(rows.bound, theorem.regret_bound_in_use(steps, mu, 0.5, c, s))


@pytest.mark.parametrize(("c", "s", "beside"), [(1.0, 4, set()), (2.0, 0, set()), (2.0, 1, {(1.0, 0)})])
def test_a_slow_start_alone_has_the_course_without_one_beside_it(c, s, beside):
    """At sixty steps of a long run, evenly by their logarithm."""
    recorded = np.tile([3.0, 4.0], (300, 1)), np.tile([0.6, 0.4], (300, 1))
    rows = list(theory.regret([("v", 0, ConceptDistribution([6, 4], 0.5, c, s), *recorded)]))
    assert {row[2:4] for row in rows} == {(c, s)} | beside
    assert [row[4] for row in rows if row[2] == c] == sorted({int(300 ** (i / 59) + 1e-9) for i in range(60)})


def test_curves_are_h_of_the_papers_and_the_measured_mu():
    table, maxima = theory_table("curves"), theory_table("maxima")
    mu = theory_table("suggestions").mu.item()
    assert {(row.mu, row.lam) for row in table.itertuples()} == {(50.0, 1.0), (100.0, 1.0), (mu, 0.5)}
    np.testing.assert_allclose(table.h, [theorem.h(row.s, row.mu, row.lam) for row in table.itertuples()])
    assert table.variant.isna().tolist() == (table.mu != mu).tolist()
    assert table.s[table.mu == 50].tolist() == sorted({int(2 * 100 ** (i / 299) + 1e-9) for i in range(300)})
    for mu, s, h, c in maxima.itertuples(index=False):
        assert (s, h, c) == pytest.approx((theorem.best_s(mu), theorem.h(s, mu), theorem.c(s, mu)))
    assert maxima.mu.tolist() == [50.0, 100.0]
