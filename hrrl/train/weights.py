"""Weights to start from: a file, timm's or torchvision's by name, a hub's repository, or a model of this pipeline."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hrrl.common.files import given_path
from hrrl.errors import UserError, note, reason
from hrrl.train import models

State = dict[str, torch.Tensor]
FILES = ("model.safetensors", "pytorch_model.bin")  # of a folder or repository
CONFIGS = ("model.json", "config.json")  # this pipeline's, timm's
COUNTED = "num_batches_tracked"  # of batch norm: older files lack it, and nothing is computed from it
AVERAGED = "n_averaged"  # how many states torch's AveragedModel is the mean of
WRAPPERS = re.compile(r"_(orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)\.")  # what torch puts into names
DENSE = re.compile(r"\b(norm|conv)\.([12])\b")  # torchvision's DenseNets are published as norm.1, and built as norm1
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # as networks compute with
NORMALISING = ("googlenet", "inception_v3")  # torchvision's that, as published, bring images to mean and std 0.5 inside


@dataclass(frozen=True, kw_only=True)
class Init:
    """Where weights to start from lie, one of four places, and which they are: an ``init`` of params.yaml."""

    file: str | None = None  # safetensors, or a checkpoint of torch
    weights: str | None = None  # of the backbone's own library, by their tag: DEFAULT, a1_in1k, IMAGENET1K_V2
    hub: str | None = None  # repository@revision
    model: str | None = None  # a folder of models/
    sha256: str | None = None  # python -m scripts.weights fills it in
    classes: str | list[str] | None = None
    mean: Sequence[float] | None = None  # of the images that it was trained on; None: what its own config says
    std: Sequence[float] | None = None
    remap: bool = False  # takes the tensors by their order, whatever their names


@dataclass(frozen=True)
class Weights:
    """A file of weights, and what is known of it.

    Attributes:
        key: of params.yaml, for messages.
        backbone, args: the network that is to take them, as of :func:`hrrl.train.models.build`.
        classes: wnid or name of each row of its head, where they are known.
        mean, std: the input normalisation that it was trained with.
        remap: whether its tensors are taken by their order, whatever their names.
    """

    key: str
    path: Path
    backbone: str
    args: dict[str, Any]
    classes: list[str] | None
    mean: Sequence[float]
    std: Sequence[float]
    remap: bool
    size: int | None = None  # S, pixels, of the images that it was trained on

    @cached_property
    def state(self) -> State:
        return read(self.path, self.key)

    @cached_property
    def sha256(self) -> str:
        return digest(self.path)

    def put_into(self, model: models.Classifier, classes: Sequence[str], wnids: Sequence[str | None]) -> int:
        """Loads the weights, with the statistics of batch norm, mean and std; returns how many rows of the head stay.

        A row stays whose class is one of ``classes`` by wnid or name; the others are as the model has them, and so is
        the head of weights without one.
        """
        state, rows = self.fitted(model.backbone), self._rows(classes, wnids)
        initial = model.backbone.state_dict()
        for name in self._head(initial):
            tensor = initial[name].clone()
            for i, row in rows.items():
                tensor[i] = state[name][row]
            state[name] = tensor
        models.fill(model.backbone, state)
        for buffer, values in ((model.mean, self.mean), (model.std, self.std)):
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))
        return len(rows)

    def _rows(self, classes: Sequence[str], wnids: Sequence[str | None]) -> dict[int, int]:
        """Position of each class that the head knows -> its row."""
        row_of = _by_name(self.classes or ())
        matches = {
            i: [row_of[key] for key in (wnid, _plain(name)) if key in row_of]
            for i, (name, wnid) in enumerate(zip(classes, wnids, strict=True))
        }
        return {i: rows[0] for i, rows in matches.items() if rows}

    def _head(self, needed: State) -> list[str]:
        """Of the names of a network's tensors, those of its heads, which have a row for each class."""
        heads = models.heads(self.backbone, self.args)
        return [name for name in needed if name.rpartition(".")[0] in heads]

    def fitted(self, net: nn.Module) -> State:
        """The state with the tensor names of ``net``, which may be on the device ``meta``.

        A head comes with as many rows as the file's, or is left out where the file has none.

        Raises:
            UserError: in one line, what does not fit.
        """
        needed = net.state_dict()
        head = self._head(needed)
        body = {name: tensor for name, tensor in needed.items() if name not in head}

        def fits(state: State) -> bool:  # all of the network, or without a head the rest of it
            return not _differences(state, needed if {*head} & {*state} else body, head)

        keeps_order = self.path.suffix != ".safetensors"  # which sorts its tensors by name
        by_order = _by_order(self.state, needed, head) if keeps_order else None
        candidates = self._candidates(head, list(_shapes(body, head)))
        state = next(filter(fits, candidates), by_order if self.remap else None)
        if state is None:
            problem, remedy = _differences(self.state, needed, head), "use weights of this backbone"
            remedy = f"all fits by order and shape: set {self.key}.remap: true" if by_order else remedy
            raise UserError(f"{self.key}: {self.path} does not fit {self.backbone!r}: {problem}; {remedy}")
        self._check_floats({name: tensor for name, tensor in state.items() if needed[name].is_floating_point()})
        if self.classes and len(self.classes) != (rows := len(state.get(head[0], ()))):
            raise UserError(
                f"{self.key}.classes: {len(self.classes)} are known, but the head of {self.path} has {rows}; "
                "name those, or leave it out for a new head"
            )
        return dict(state)

    def _check_floats(self, state: State) -> None:
        for name, tensor in state.items():
            if tensor.dtype not in FLOATS:
                problem = f"{name} is of {tensor.dtype}; use weights that are not quantized"
                raise UserError(f"{self.key}: {self.path}: {problem}")
        for name, tensor in state.items():
            if not tensor.float().isfinite().all():
                raise UserError(f"{self.key}: {self.path}: {name} is not finite; use weights from before it diverged")

    def _candidates(self, head: list[str], body: list[str]) -> Iterator[State]:
        """The state as stored, without a wrapper's prefix, with DenseNets' names as built, and as timm loads it.

        Timm renames tensors of other releases, and resizes position embeddings of another image size.

        Args:
            head, body: names of the network's tensors.
        """
        yield self.state
        yield (inner := _inner(self.state, head[0], body))
        yield {DENSE.sub(r"\1\2", name): value for name, value in inner.items()}
        if self.backbone.startswith("timm/"):
            import timm

            try:
                rows = [*(len(inner[name]) for name in head if name in inner), 0]
                overlay = {"state_dict": dict(inner), "num_classes": rows[0], "custom_load": False}
                args = self.args | {"num_classes": rows[0], "pretrained": True, "pretrained_cfg_overlay": overlay}
                yield timm.create_model(self.backbone.removeprefix("timm/"), **args).state_dict()
            except Exception:  # whatever it raises over weights that are another network's
                return


def open_weights(init: Init, backbone: str, args: dict[str, Any], key: str) -> Weights:
    """The weights that ``init`` names, as :func:`find` finds them, with their hash checked.

    Raises:
        UserError: they are others than ``sha256`` says, or as :func:`find`.
    """
    weights = find(init, backbone, args, key)
    actual = f"{weights.path} has {weights.sha256}"
    if not init.sha256:
        raise UserError(f"{key}.sha256: missing; {actual}: python -m scripts.weights writes it there")
    if weights.sha256 != init.sha256:
        raise UserError(f"{key}.sha256: {actual}, not {init.sha256}; take that file, or write this hash")
    return weights


def find(init: Init, backbone: str, args: dict[str, Any], key: str) -> Weights:
    """Finds the weights that ``init`` names, and downloads them where it is a name.

    Raises:
        UserError: they are not there, or cannot be had.
    """
    path, info = _locate(init, backbone, key)
    net = backbone.removeprefix("timm/").partition(".")[0]
    if (file_net := (info.get("of") or net).removeprefix("timm/").partition(".")[0]) != net:
        note(f"{key}: {path} is of {file_net}; where its tensors fit {net}, that may compute something else with them")
    if args.get("transform_input"):  # these networks are given images at ImageNet's mean and std
        info |= {"mean": None, "std": None}
    classes = init.classes or info.get("classes")
    mean = init.mean or info.get("mean") or models.IMAGENET_MEAN
    std = init.std or info.get("std") or models.IMAGENET_STD
    if {len(mean), len(std)} != {3}:
        raise UserError(f"{key}: {path} is of images of {len(mean)} channels; use weights of images of three colours")
    return Weights(
        key=key,
        path=path,
        backbone=backbone,
        args=dict(args),
        classes=_imagenet_classes(classes, key) if isinstance(classes, str) else classes,
        mean=mean,
        std=std,
        remap=init.remap,
        size=info.get("size"),
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, key: str) -> State:
    """The tensors of a safetensors file or checkpoint by their names; runs no code that it holds.

    Raises:
        UserError: it is neither, it is corrupt, or it holds more than tensors.
    """
    from timm.models import load_state_dict  # finds the weights in a training checkpoint, too

    try:
        state = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # whatever a reader raises over a file of another format
        message = " ".join(str(error).split())
        if objects := message.partition("Unsupported globals: ")[2].partition(" No automatic")[0]:
            raise UserError(
                f"{key}: {path} holds code or objects beside tensors ({objects}); save the state dict"
            ) from None
        message = reason(error).partition(". ")[0] or type(error).__name__  # what follows is advice to a programmer
        message = "its content is neither" if "blocked loading" in message else message
        raise UserError(
            f"{key}: {path} is no whole checkpoint, nor a safetensors file that is named so ({message})"
        ) from None
    states = [state] if _is_state(state) else [value for value in state.values() if _is_state(value)]
    if len(states) != 1:  # one may be beside an optimizer's, say
        keys = ", ".join(list(state)[:3])
        raise UserError(f"{key}: {path} holds no state dict, a dense tensor for each name; it has {keys}")
    return {WRAPPERS.sub("", name): value for name, value in states[0].items() if name != AVERAGED}


def _is_state(candidate: Any) -> bool:
    """Whether it is a dictionary of dense tensors that have values, one at least."""
    return bool(isinstance(candidate, Mapping) and candidate) and all(
        isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta
        for value in candidate.values()
    )


def _inner(state: State, weight: str, body: list[str]) -> State:
    """The part of a state behind one prefix, as Lightning's modules and other wrappers add it; else all of it.

    Args:
        weight: name of a tensor of the network's head.
        body: names of its other tensors.
    """
    by_head = [name.removesuffix(weight) for name in state if name.endswith(f".{weight}")]
    by_all = [name.removesuffix(body[0]) for name in state if name.endswith(f".{body[0]}")]
    by_all = [prefix for prefix in by_all if all(prefix + name in state for name in body)]
    for prefixes in (by_head, by_all):
        if len(prefixes) == 1:  # not a teacher's beside a student's
            return {k.removeprefix(prefixes[0]): value for k, value in state.items() if k.startswith(prefixes[0])}
    return state


def _locate(init: Init, backbone: str, key: str) -> tuple[Path, dict[str, Any]]:
    """The file, and what is known of it: the network that it is of, classes, mean, std, size."""
    if init.file:
        path = given_path(init.file, f"{key}.file", "weights")
        return _in_folder(path, backbone, f"{key}.file") if path.is_dir() else (path, _default_config(backbone))
    if init.model:
        return _in_folder(given_path(init.model, f"{key}.model", "weights"), backbone, f"{key}.model")
    tag = init.weights or ""
    source = init.hub or f"{backbone} {tag}"
    try:
        if init.hub:
            return _in_folder(_fetch(init.hub), backbone, f"{key}.hub")
        return (_timms_file if backbone.startswith("timm/") else _torchvisions_file)(backbone, tag, key)
    except UserError:
        raise
    except Exception as error:  # whatever a client raises without a network, or of a name that is none
        message = " ".join(str(error).split())[:200]
        raise UserError(
            f"{key}: {source} is not on this machine and cannot be fetched ({type(error).__name__}: {message}); "
            "copy its file here, and name it by `file`"
        ) from None


def _in_folder(folder: Path, backbone: str, key: str) -> tuple[Path, dict[str, Any]]:
    """The same of a folder in this pipeline's or timm's form; the backbone's own where its config lacks any."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    config = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if file is None:
        raise UserError(f"{key}: {folder} holds no {' or '.join(FILES)}")
    info = described(config) if config else {}
    info |= info.get("pretrained_cfg") or {}
    classes = info.get("classes") or info.get("label_names") or _subset(info.get("num_classes"))
    size = info.get("image_size") or info.get("input_size", [None])[-1]
    known = {"classes": classes, "mean": info.get("mean"), "std": info.get("std"), "size": size}
    known["of"] = info.get("backbone") or info.get("architecture")
    return file, _default_config(backbone) | {name: value for name, value in known.items() if value}


def described(path: Path, *needed: str) -> dict[str, Any]:
    """What a JSON file beside weights says of them.

    Raises:
        UserError: it is none, or lacks a key that is needed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # UnicodeDecodeError is one, too
        content = None
    if not isinstance(content, dict) or not all(key in content for key in needed):
        raise UserError(f"{path}: is no JSON object{' with ' * bool(needed)}{', '.join(needed)}; copy it whole again")
    return content


def _fetch(hub: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = hub.partition("@")
    return Path(snapshot_download(repository, revision=revision or None, allow_patterns=[*FILES, *CONFIGS]))


def _default_config(backbone: str) -> dict[str, Any]:
    """Mean, std and size of a backbone's own weights, by default."""
    if backbone.startswith("timm/"):
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(backbone.removeprefix("timm/"))
        return {"mean": config.mean, "std": config.std, "size": config.input_size[-1]} if config else {}
    from torchvision import models as library

    is_known = backbone in library.list_models(module=library)
    return _input_config(library.get_model_weights(backbone)["DEFAULT"], backbone) if is_known else {}


def _input_config(weights: Any, backbone: str) -> dict[str, Any]:
    """Mean, std and size of the images for torchvision's weights, without what the network normalises itself."""
    transform = weights.transforms()
    pixels = {k: [0.5] * 3 if backbone in NORMALISING else getattr(transform, k) for k in ("mean", "std")}
    return {"size": transform.crop_size[0], **pixels}


def _timms_file(backbone: str, tag: str, key: str) -> tuple[Path, dict[str, Any]]:
    import timm

    name = backbone.removeprefix("timm/")
    tags = [full_name.partition(".")[2] for full_name in timm.list_pretrained(f"{name}.*")]
    if tag not in ("DEFAULT", *tags):
        raise UserError(f"{key}.weights: timm has no {tag!r} of {name}; known: {', '.join(['DEFAULT', *tags])}")
    config = timm.models.get_pretrained_cfg(name if tag == "DEFAULT" else f"{name}.{tag}")
    if config is None or not config.hf_hub_id:
        raise UserError(f"{key}.weights: timm publishes none of {name}; take a file of weights")
    file, info = _in_folder(_fetch(config.hf_hub_id), backbone, f"{key}.weights")
    classes = config.label_names or info.get("classes") or _subset(config.num_classes)
    return file, {"classes": classes, "mean": config.mean, "std": config.std, "size": config.input_size[-1]}


def _torchvisions_file(backbone: str, tag: str, key: str) -> tuple[Path, dict[str, Any]]:
    from torchvision.models import get_model_weights

    tags = get_model_weights(backbone)
    if tag not in tags.__members__:
        raise UserError(
            f"{key}.weights: torchvision has no {tag!r} of {backbone}; known: {', '.join(tags.__members__)}"
        )
    weights = tags[tag]
    path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(path))
    return path, _input_config(weights, backbone) | {"classes": _subset(len(weights.meta["categories"]))}


def _subset(classes: int | None) -> str | None:
    """ImageNet's part with so many classes, as timm tells them apart."""
    from timm.data import infer_imagenet_subset

    return infer_imagenet_subset({"num_classes": classes})


def _imagenet_classes(subset: str, key: str) -> list[str]:
    from timm.data import ImageNetInfo

    try:
        return ImageNetInfo(subset).label_names()
    except AssertionError:
        raise UserError(
            f"{key}.classes: there is no {subset!r}; it takes imagenet-1k, another part as timm names it, or a list"
        ) from None


def _by_name(classes: Sequence[str]) -> dict[str, int]:
    """wnid or name -> row, where it is of one row alone; ImageNet's by their words as well."""
    from timm.data import ImageNetInfo

    name_rows: dict[str, list[int]] = {}
    word_rows: dict[str, list[int]] = {}
    imagenet = ImageNetInfo("imagenet-22k")
    lemmas = dict(zip(imagenet.label_names(), imagenet.label_descriptions(), strict=True))
    for row, name in enumerate(classes):
        name_rows.setdefault(_plain(name), []).append(row)
        for word in lemmas[name].split(", ") if name in lemmas else ():
            word_rows.setdefault(_plain(word), []).append(row)
    return {name: rows[0] for name, rows in (word_rows | name_rows).items() if len(rows) == 1}


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")


def _shapes(state: Mapping[str, torch.Tensor], head: list[str]) -> dict[str, tuple[int, ...]]:
    """Name -> shape, of the head without its rows."""
    return {k: tuple(v.shape)[k in head :] for k, v in state.items() if not k.endswith(COUNTED)}


def _differences(state: State, target: State, head: list[str]) -> str:
    """What a state lacks of ``target``, or has beyond, in words; "" where names and shapes agree."""
    shapes, needed = _shapes(state, head), _shapes(target, head)
    parts = {
        "missing": [k for k in needed if k not in shapes],
        "unknown": [k for k in shapes if k not in needed],
        "of another shape": [k for k in needed if k in shapes and shapes[k] != needed[k]],
    }
    counts = [
        f"{len(keys)} of {len(needed)} tensors are {what}, first {keys[0]}" for what, keys in parts.items() if keys
    ]
    return ", ".join(counts)


def _by_order(state: State, needed: State, head: list[str]) -> State | None:
    """The state with the network's names in their order, where all shapes agree."""
    names = list(_shapes(needed, head))
    tensors = [tensor for name, tensor in state.items() if not name.endswith(COUNTED)]
    renamed = dict(zip(names, tensors, strict=False))
    return renamed if len(names) == len(tensors) and not _differences(renamed, needed, head) else None
