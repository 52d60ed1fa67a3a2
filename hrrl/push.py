"""Sends a folder of models/ to a hub: with its card, and in the form that timm reads as well."""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hrrl.common.files import write_json
from hrrl.data.loading import SMALL
from hrrl.errors import UserError
from hrrl.train import models
from hrrl.train.weights import described


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a folder of models/")
    parser.add_argument("repository", help="<owner>/<name> on the hub")
    parser.add_argument("--card", type=Path, help="its README.md; without it, reports/cards/<model>/README.md")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--to", type=Path, help="a folder to write what would be sent, in the place of sending it")


def push(args: argparse.Namespace) -> None:
    """Uploads weights, description, card and timm's config.json; or writes them to ``args.to``.

    Raises:
        UserError: the folder holds no model, the repository's name is invalid, the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(args.repository)
    except HFValidationError as error:
        raise UserError(f"{args.repository}: {error}") from None
    card = args.card or Path("reports/cards", args.model.name, "README.md")
    with tempfile.TemporaryDirectory() as scratch:
        folder = package(args.model, card, args.to or Path(scratch) / "model")
        if args.to:
            names = ", ".join(sorted(file.name for file in folder.iterdir()))
            print(f"{args.repository}: {names} in {folder}, not sent")
            return
        api = HfApi()
        try:
            api.create_repo(args.repository, private=args.private, exist_ok=True)
            sent = api.upload_folder(repo_id=args.repository, folder_path=folder, commit_message=args.model.name)
        except Exception as error:  # whatever the client raises without a network, a token or the right to write
            message = " ".join(str(error).split())[:300]
            raise UserError(f"{args.repository}: not sent ({type(error).__name__}: {message})") from None
        print(f"{args.repository}: {sent.commit_url}")


def package(model: Path, card: Path, folder: Path) -> Path:
    """What a hub gets of a model's folder: its files, the card, and config.json for ``timm.create_model``."""
    if not (model / "model.json").is_file():
        raise UserError(f"{model}: holds no model.json; expected a folder of models/")
    if not card.is_file():
        raise UserError(f"{card}: no such card; run the stage `card`, or name one by --card")
    described(model / "model.json", "backbone", "backbone_args", "classes", "image_size", "mean", "std")
    _, description = models.load(model)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "model.json"):
        shutil.copy(model / name, folder)
    shutil.copy(card, folder / "README.md")
    if description["backbone"].startswith("timm/"):
        write_json(folder / "config.json", config(description))
    return folder


def config(description: dict[str, Any]) -> dict[str, Any]:
    """config.json in timm's form: architecture, arguments, classes, and how images are resized and normalised."""
    from timm.models import get_pretrained_cfg

    size, name = description["image_size"], description["backbone"].removeprefix("timm/")
    timm_config = get_pretrained_cfg(name)  # gives timm the size of its own networks, but not of one from a hub
    size_args = {"img_size": timm_config.input_size[-1]} if timm_config and timm_config.fixed_input_size else {}
    heads = models.heads(description["backbone"], description["backbone_args"])
    return {
        "architecture": name.partition(".")[0],
        "num_classes": len(description["classes"]),
        "label_names": description["classes"],
        "model_args": size_args | description["backbone_args"],
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, size, size],
            "mean": description["mean"],
            "std": description["std"],
            "num_classes": len(description["classes"]),
            "crop_pct": 1.0 if size <= SMALL else 224 / 256,  # as hrrl/data/loading.py does
            "crop_mode": "squash" if size <= SMALL else "center",
            "interpolation": "bilinear",
            "classifier": heads if len(heads) > 1 else heads[0],
        },
    }
