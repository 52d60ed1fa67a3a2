"""What any model is worth on any folder of images: by WordNet's concepts, on moved images, and by its features."""

import argparse
import contextlib
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from hrrl import concepts
from hrrl.concepts import csv_file
from hrrl.concepts.hypernyms import find_wnid
from hrrl.data.loading import open_split
from hrrl.data.locate import Definition, locate
from hrrl.data.manifest import Manifest, held_out, prepare
from hrrl.errors import UserError
from hrrl.train import models, runtime, weights
from hrrl.transfer import svm
from hrrl.transfer.features import features
from hrrl.transfer.robustness import correct_when_moved

NEIGHBOURS = 20
SIZE = 224  # pixels, of a model that does not say what it was trained on


def _type(expected: str, parse: Callable[[str], Any], fits: Callable[[Any], bool]) -> Callable[[str], Any]:
    """The type of an argument: what is ``expected`` in words, how it is parsed, and which values fit."""

    def convert(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if fits(value := parse(text)):
                return value
        raise argparse.ArgumentTypeError(f"takes {expected}, got {text!r}")

    return convert


OBJECT = _type('a JSON object such as {"img_size": 96}', json.loads, lambda value: isinstance(value, dict))
COUNT = _type("a whole number above 0", int, lambda value: value > 0)
LENGTH = _type("a number that is not negative", float, lambda value: 0 <= value < math.inf)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder of models/, or a backbone: resnet18, timm/vit_tiny_patch16_224")
    parser.add_argument("--data", required=True, help="folder or zip of images: train/<class>/*, val|test/<class>/*")
    parser.add_argument("--targets", nargs="*", default=[], help="more of these, for the features alone")
    parser.add_argument("--kind", default="imagefolder", help="of all: without splits, torchvision/ImageFolder")
    parser.add_argument("--train", default="train", help="name of the split that classifiers of features learn from")
    parser.add_argument("--test", help="name of the split that is judged; without it val, test, validation or valid")
    parser.add_argument("--weights", default="DEFAULT", help="of a backbone: a file, a tag, or <repository>@<revision>")
    parser.add_argument("--classes", help="of a file's head: imagenet-1k, or a text file with one in each line")
    parser.add_argument("--remap", action="store_true", help="take a file's tensors by their order, not their names")
    parser.add_argument("--args", type=OBJECT, default={}, help="of the backbone's constructor, as JSON")
    parser.add_argument("--size", type=COUNT, help="pixels; without it as the model was trained, or 224")
    parser.add_argument("--concepts", default="table1", help="table1, a number for an automatic cut, or a CSV")
    parser.add_argument("--steps", type=LENGTH, nargs="*", default=[0.1, 0.5, 1.0], help="L2, in pixel units")
    parser.add_argument("--images", type=COUNT, help="at most so many of each class, in each part")


def score(args: argparse.Namespace) -> None:
    """Prints accuracy by concept and on moved images, and the accuracy of an SVM and of neighbours on the features.

    Where the head knows the classes of ``data``, it is the head that is judged; else a linear SVM on the features, as
    a head in its place.

    Raises:
        UserError: there are no such weights or images.
    """
    folders = [str(Path(folder).expanduser().absolute()) for folder in (args.data, *args.targets)]
    names = [Path(folder).name for folder in folders]
    titles = names if len(set(names)) == len(set(folders)) else folders
    start, grouping = _start(args), _grouping(args.concepts)
    size = args.size or start.size or SIZE
    with runtime.start(_compute()) as running, tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        _check_size(start, size)
        manifests = [_manifest(folder, args, str(i)) for i, folder in enumerate(folders)]
        image_concepts = _concepts(manifests[0], grouping)  # may fail: before features are computed
        for number, (folder, title, manifest) in enumerate(zip(folders, titles, manifests, strict=True)):
            model = models.build(start.backbone, len(manifest.classes), start.args).eval()
            head_rows = start.put_into(model, manifest.classes, manifest.wnids)  # of the weights, one for each class
            train, test = (open_split(str(number), folder, split, size) for split in ("train", "test"))
            x, test_x = (features(model, source, running, title) for source in (train, test))
            y, test_y = train.labels.numpy(), test.labels.numpy()
            choice = svm.cross_validate(x, y, folds=_folds(manifest))
            (classifier,) = svm.fit(x, y, [choice.C])
            neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(y)), weights="distance", metric="cosine")
            neighbours.fit(x.astype(float), y)  # in float32, 1 - cos of nearly parallel features is rounding
            svm_accuracy = _percent(classifier.predict(test_x) == test_y)
            neighbours_accuracy = _percent(neighbours.predict(test_x.astype(float)) == test_y)
            if not number:
                substitute = None if head_rows == len(manifest.classes) else classifier
                _print_head(args, model, manifest, test, running, substitute, image_concepts)
                print(f"\n{'features on':20} {'linear SVM':>12} {'neighbours':>12}")
            print(f"{title:20} {svm_accuracy:11.2f}% {neighbours_accuracy:11.2f}%", flush=True)


def _start(args: argparse.Namespace) -> weights.Weights:
    """The weights to judge, with the name and arguments of their network."""
    backbone, settings = args.model, args.args
    init: Any = {"classes": _classes(args.classes), "remap": args.remap}
    if (description_file := Path(args.model) / "model.json").is_file():
        description = weights.described(description_file, "backbone", "backbone_args")
        if (args.weights, args.classes, args.remap, args.args) != ("DEFAULT", None, False, {}):
            raise UserError(f"{args.model}: is a model with its own --weights, --classes and --args; leave them out")
        backbone, settings, init = description["backbone"], description["backbone_args"], {"model": args.model}
    elif "/" in args.model and not args.model.startswith("timm/"):
        missing = description_file if description_file.parent.exists() else description_file.parent
        raise UserError(
            f"model: {missing} does not exist; expected a folder of models/ with its model.json, or a backbone "
            "such as resnet18 or timm/resnet18"
        )
    elif (file := Path(args.weights).expanduser()).exists() or ("." in args.weights and "@" not in args.weights):
        init["file"] = str(file.absolute())  # no tag has a dot
    else:
        init["hub" if "@" in args.weights else "weights"] = args.weights
    models.heads(backbone, settings)  # an unknown network is reported before its missing weights
    start = weights.find(weights.Init(**init), backbone, settings, "weights")
    start.state  # noqa: B018  read before the working folder changes
    print(f"{backbone} from {start.path}, SHA-256 {start.sha256}")
    return start


def _classes(value: str | None) -> str | list[str] | None:
    """``--classes`` as ``weights.Init`` takes it: the lines of a file, or the name of a list."""
    if not value or not (file := Path(value).expanduser()).is_file():
        return value
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"--classes: {value}: {error}; save it as text in UTF-8, with one class in each line") from None
    return [line.strip() for line in lines if line.strip()]


def _grouping(value: str) -> Any:
    """``--concepts`` as the setting ``concepts``, with the absolute path of a file."""
    if value == "table1":
        return value
    if not value.isdecimal():
        return {"csv": str(Path(value).expanduser().absolute())}
    if int(value) < 2:
        raise UserError(f"--concepts: an automatic cut takes two concepts or more, got {value}")
    return {"auto": int(value)}


def _check_size(start: weights.Weights, size: int) -> None:
    """Puts one image through the network, before any of the data is read."""
    model = models.build(start.backbone, 2, start.args).eval()
    start.fitted(model.backbone)
    try:
        with torch.inference_mode():
            model.features(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever a network raises over a shape that it cannot take
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"--size: {start.backbone!r} with {start.args} takes no images of {size} x {size} pixels in three colours "
            f"({reason}); give another size, or settings for this one by --args"
        ) from None


def _manifest(folder: str, args: argparse.Namespace, destination: str) -> Manifest:
    """The manifest of a folder of images; also written to ``destination``, a folder in the working folder."""
    definition = Definition(kind=args.kind, root=folder, train=args.train, test=args.test, skip_unreadable=True)
    if args.images:
        test = held_out(definition, locate(definition, "data"))
        definition = replace(definition, train=f"{args.train}[:{args.images}]", test=f"{test}[:{args.images}]")
    manifest = prepare(definition, Path(folder).name)
    svm.check(manifest.classes, manifest.labels("train"), _folds(manifest), folder)
    manifest.write(destination)
    return manifest


def _folds(manifest: Manifest) -> int:
    return int(np.clip(np.bincount(manifest.labels("train")).min(), 2, 5))


def _print_head(
    args: Any, model: Any, manifest: Manifest, test: Any, running: Any, substitute: Any, image_concepts: np.ndarray
) -> None:
    """Prints the accuracy of the head, or of the classifier in its place: by concept, and on moved images."""
    names = manifest.classes
    if substitute is None:
        print("judged: its own head")
    else:
        print(f"judged: a linear SVM in the place of its head, which lacks\n        some of the {len(names)} classes")
        model = SvmHead(model, substitute)
    hits = correct_when_moved(model, test, running, [0.0, *args.steps])
    rows = {}
    for name in dict.fromkeys(image_concepts):
        of_concept = image_concepts == name
        rows[name] = _percent(hits[0.0][of_concept]), int(of_concept.sum())
    print(f"{'all':20} {_percent(hits[0.0]):11.2f}% of {len(image_concepts):,} images")
    for name, (accuracy, images) in sorted(rows.items(), key=lambda row: row[1]):
        print(f"{name:20} {accuracy:11.2f}% of {images:,}")
    worst = min(rows, key=lambda name: rows[name])
    print(f"worst concept: {worst}, {rows[worst][0]:.2f}%")
    for step in args.steps:
        print(f"{f'moved by {step:g}':20} {_percent(hits[step]):11.2f}%")


class SvmHead(nn.Module):
    """A linear classifier, with its scaler, on a network's features: in the place of all that makes logits of them."""

    def __init__(self, model: models.Classifier, classifier: svm.LinearClassifier):
        super().__init__()
        self.model, (classes, width) = model, classifier.coef.shape
        self.head = nn.Linear(width, classes)
        coef = classifier.coef / classifier.scaler.scale_
        state = {"weight": coef, "bias": classifier.intercept - coef @ classifier.scaler.mean_}
        self.head.load_state_dict({name: torch.as_tensor(values) for name, values in state.items()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.model.features(x))


def _concepts(manifest: Manifest, setting: Any) -> np.ndarray:
    """The concept of each test image: its class's, or its own in a file that groups images."""
    if csv_file.by_image(setting):
        images = {split: list(rows.paths) for split, rows in manifest.splits.items()}
        names, indices = csv_file.of_images(setting["csv"], images, partial=True)
        return np.array(names)[indices["test"]]
    class_concepts = _grouped(manifest, setting)
    return np.array([class_concepts[manifest.classes[y]] for y in manifest.labels("test")])


def _grouped(manifest: Manifest, setting: Any) -> dict[str, str]:
    """Class -> concept: by its wnid, or by the first sense of its name as an English noun."""
    if "csv" in setting:
        return concepts.group_classes(manifest.classes, manifest.wnids, {}, setting)
    synsets, known = {}, []
    for name, wnid in zip(manifest.classes, manifest.wnids, strict=True):
        noun = f"{name.lower().replace(' ', '_')}.n.01"
        with contextlib.suppress(UserError):  # of what WordNet does not have
            if wnid is None:
                synsets[name] = concepts.find_synset(noun).name()
            else:
                find_wnid(wnid)
            known.append((name, wnid))
    grouped = concepts.group_classes([n for n, _ in known], [w for _, w in known], synsets, setting) if known else {}
    return {name: grouped.get(name, concepts.UNKNOWN) for name in manifest.classes}


def _compute() -> runtime.Compute:
    given: Any = {"arithmetic": "native", "device": "auto", "precision": "float32", "channels_last": True, "fast": True}
    off: Any = dict.fromkeys(("compile", "sync_batchnorm", "tf32", "cudnn_benchmark"), False)
    return runtime.Compute(**given, **off, threads=torch.get_num_threads())


def _percent(hits: np.ndarray) -> float:
    return 100 * float(np.mean(hits))
