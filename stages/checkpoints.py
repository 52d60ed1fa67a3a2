"""Checkpoints of training runs: each is valid for its own settings, machine settings, code and data only."""

import sys
from pathlib import Path

from stages.common import ROOT, typed
from stages.paths import WORK

FINDS = (  # of hrrl/data: what finds and lists images
    *("array_dataset.py", "indexed_dataset.py", "image_folder.py", "locate.py", "manifest.py", "readers", "sources.py"),
    *("synsets.py", "torchvision.py", "unpack.py"),
)


def open_checkpoint(params, name: str, settings: dict, data: list[Path]):
    """The checkpoint of a training run; any change of what decides the run's result invalidates it.

    The code is that of all modules imported by now, except FINDS: only a process that decodes images into the cache
    imports a dataset's reader, and what it found is part of the data.
    """
    from hrrl.train import runtime
    from hrrl.train.checkpoint import Checkpoint, fingerprint

    settings = settings | {"compute": params.compute.as_dict(), "launch": params.launch.as_dict()}
    package = ROOT / "hrrl"
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    sources = [Path(file) for file in files if file.startswith(f"{package}/")]
    code = sorted(file for file in sources if not any(file.is_relative_to(package / "data" / part) for part in FINDS))
    identity = fingerprint(settings, code, data) | {"device": runtime.computed(typed(runtime.Compute, params.compute))}
    return Checkpoint(WORK / "checkpoints" / params.name / name, identity)
