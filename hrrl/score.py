"""What any model is worth on any folder of images: by WordNet's concepts, on moved images, and by its features."""

import argparse
import contextlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

from hrrl import concepts
from hrrl.concepts import csv_file
from hrrl.data.loading import open_split
from hrrl.data.locate import Definition, locate
from hrrl.data.manifest import Manifest, prepare
from hrrl.errors import UserError
from hrrl.train import models, runtime, weights
from hrrl.transfer import svm
from hrrl.transfer.features import features
from hrrl.transfer.robustness import right_when_moved

NEIGHBOURS = 20
SIZE = 224  # pixels, of a model that does not say what it was trained on


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder of models/, or a backbone: resnet18, timm/vit_tiny_patch16_224")
    parser.add_argument("--data", required=True, help="folder or zip of images: train/<class>/*, val|test/<class>/*")
    parser.add_argument("--targets", nargs="*", default=[], help="more of these, for the features alone")
    parser.add_argument("--weights", default="DEFAULT", help="of a backbone: a file, a tag, or <repository>@<revision>")
    parser.add_argument("--classes", help="of a file's head: imagenet-1k, or a text file with one in each line")
    parser.add_argument("--args", type=json.loads, default={}, help="of the backbone's constructor, as JSON")
    parser.add_argument("--size", type=int, help="pixels; without it as the model was trained, or 224")
    parser.add_argument("--concepts", default="table1", help="table1, a number for an automatic cut, or a CSV")
    parser.add_argument("--steps", type=float, nargs="*", default=[0.1, 0.5, 1.0], help="L2, in pixel units")
    parser.add_argument("--images", type=int, help="at most so many of each class, in each part")


def score(args: argparse.Namespace) -> None:
    """Prints accuracy by concept and on moved images, and the accuracy of an SVM and of neighbours on the features.

    Where the head knows the classes of ``data``, it is the head that is judged; else a linear SVM on the features, as
    a head in its place.

    Raises:
        UserError: there are no such weights or images.
    """
    folders = [str(Path(folder).expanduser().absolute()) for folder in (args.data, *args.targets)]
    start, grouping = _start(args), Path(args.concepts).expanduser()
    setting = str(grouping.absolute()) if grouping.suffix == ".csv" else args.concepts
    with runtime.start(_compute()) as here, tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for number, folder in enumerate(folders):
            manifest = _listed(folder, args.images)
            of = None if number else _concepts(manifest, setting)  # before the network sees an image
            model, size, known = _model(args, start, manifest)
            train, test = (open_split("manifest", folder, split, size) for split in ("train", "test"))
            x, test_x = (features(model, source, here, Path(folder).name) for source in (train, test))
            y, test_y = train.labels.numpy(), test.labels.numpy()
            choice = svm.cross_validate(x, y, folds=min(5, int(np.bincount(y).min())))
            (classifier,) = svm.fit(x, y, [choice.C])
            near = KNeighborsClassifier(min(NEIGHBOURS, len(y)), weights="distance", metric="cosine").fit(x, y)
            found = [_percent(classifier.predict(test_x) == test_y), 100 * float(near.score(test_x, test_y))]
            if not number:
                judged = None if known == len(manifest.classes) else classifier
                _by_head(args, model, manifest, test, here, judged, of)
                print(f"\n{'features on':20} {'linear SVM':>12} {'neighbours':>12}")
            print(f"{Path(folder).name:20} {found[0]:11.2f}% {found[1]:11.2f}%", flush=True)


def _start(args: argparse.Namespace) -> weights.Weights:
    """The weights to judge, and the network that they are of."""
    backbone, settings = args.model, args.args
    init = weights.Init(weights=args.weights)
    if (described := Path(args.model) / "model.json").is_file():
        init, description = weights.Init(model=args.model), json.loads(described.read_text(encoding="utf-8"))
        backbone, settings = description["backbone"], description["backbone_args"]
    elif Path(args.weights).is_file():
        init = weights.Init(file=str(Path(args.weights).absolute()), classes=_classes(args.classes))
    elif "@" in args.weights:
        init = weights.Init(hub=args.weights, classes=_classes(args.classes))
    found = weights.find(init, backbone, settings, "weights")
    found.state  # noqa: B018  read before the working folder changes
    print(f"{backbone} from {found.path}, SHA-256 {found.sha256}")
    return found


def _classes(given: str | None) -> str | list[str] | None:
    return Path(given).read_text(encoding="utf-8").splitlines() if given and Path(given).is_file() else given


def _model(args: argparse.Namespace, start: weights.Weights, manifest: Manifest) -> tuple[models.Classifier, int, int]:
    """The model with a row of the head for each class, its image size, and how many classes its head knows."""
    model = models.build(start.backbone, len(manifest.classes), start.args)
    known = start.put_into(model, manifest.classes, manifest.wnids)
    return model.eval(), args.size or start.size or SIZE, known


def _listed(folder: str, most: int | None) -> Manifest:
    """The images of a folder; its manifest is written to the working folder."""
    definition = Definition(kind="imagefolder", root=folder, skip_unreadable=True)
    if most:
        splits = locate(definition, "data").splits
        held_out = next((split for split in ("val", "test") if split in splits), "val")
        definition = replace(definition, train=f"train[:{most}]", test=f"{held_out}[:{most}]")
    manifest = prepare(definition, Path(folder).name)
    manifest.write("manifest")
    return manifest


def _by_head(
    args: Any, model: models.Classifier, manifest: Manifest, test: Any, here: Any, classifier: Any, of: Any
) -> None:
    """Prints the accuracy of the head, or of the classifier in its place: by concept, and on moved images."""
    names = manifest.classes
    print(
        "judged: its own head" if classifier is None else "judged: a linear SVM in the place of its head, which lacks"
    )
    if classifier is not None:
        print(f"        some of the {len(names)} classes")
        _put_on(model, classifier)
    hits = right_when_moved(model, test, here, [0.0, *args.steps])
    rows = {name: (_percent(hits[0.0][of == name]), int((of == name).sum())) for name in dict.fromkeys(of)}
    print(f"{'all':20} {_percent(hits[0.0]):11.2f}% of {len(of):,} images")
    for name, (accuracy, images) in sorted(rows.items(), key=lambda row: row[1]):
        print(f"{name:20} {accuracy:11.2f}% of {images:,}")
    worst = min(rows, key=lambda name: rows[name])
    print(f"worst concept: {worst}, {rows[worst][0]:.2f}%")
    for step in args.steps:
        print(f"{f'moved by {step:g}':20} {_percent(hits[step]):11.2f}%")


def _put_on(model: models.Classifier, classifier: svm.LinearClassifier) -> None:
    """The classifier, with its scaler, as the last linear layer."""
    models.replace_head(model, len(classifier.classes))
    weight, bias = models.head_names(model.backbone)
    coef = classifier.coef / classifier.scaler.scale_
    state = {weight: coef, bias: classifier.intercept - coef @ classifier.scaler.mean_}
    tensors = {name: torch.as_tensor(values, dtype=torch.float32) for name, values in state.items()}
    model.backbone.load_state_dict(tensors, strict=False)


def _concepts(manifest: Manifest, setting: str) -> np.ndarray:
    """The concept of each test image, by its class or, where a file says so, its own."""
    if setting.endswith(".csv") and csv_file.by_image({"csv": setting}):
        images = {split: list(rows.paths) for split, rows in manifest.splits.items()}
        order, found = csv_file.of_images(setting, images, partial=True)
        return np.array(order)[found["test"]]
    grouped = _grouped(manifest, setting)
    return np.array([grouped[manifest.classes[y]] for y in manifest.labels("test")])


def _grouped(manifest: Manifest, setting: str) -> dict[str, str]:
    """Class -> concept: by its wnid, or by the first sense of its name as an English noun."""
    given: Any = {"auto": int(setting)} if setting.isdecimal() else setting
    if setting not in ("table1",) and not setting.isdecimal():
        given = {"csv": setting}
        return concepts.group_classes(manifest.classes, manifest.wnids, {}, given)
    synsets, known = {}, []
    for name, wnid in zip(manifest.classes, manifest.wnids, strict=True):
        noun = f"{name.lower().replace(' ', '_')}.n.01"
        with contextlib.suppress(UserError):
            if wnid is None:
                synsets[name] = concepts.find_synset(noun).name()
            known.append((name, wnid))
    found = concepts.group_classes([n for n, _ in known], [w for _, w in known], synsets, given) if known else {}
    return {name: found.get(name, concepts.UNKNOWN) for name in manifest.classes}


def _compute() -> runtime.Compute:
    told: Any = {"arithmetic": "native", "device": "auto", "precision": "float32", "channels_last": True, "fast": True}
    off: Any = dict.fromkeys(("compile", "sync_batchnorm", "tf32", "cudnn_benchmark"), False)
    return runtime.Compute(**told, **off, threads=torch.get_num_threads())


def _percent(hits: np.ndarray) -> float:
    return 100 * float(np.mean(hits))
