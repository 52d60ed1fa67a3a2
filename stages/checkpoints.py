"""The checkpoints of training runs, each fit for its own settings, machine settings, code and data only."""

import sys
from pathlib import Path

from stages.common import ROOT, deciding
from stages.paths import WORK


def open_checkpoint(params, name: str, settings: dict, data: list[Path]):
    """The checkpoint of a training run, which any change of what decides its result makes void.

    The code is that of all modules that are imported by now.
    """
    from hrrl.checkpoint import Checkpoint, fingerprint

    settings = settings | {section: deciding(params, section) for section in ("compute", "launch")}
    package = str(ROOT / "hrrl")
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    code = sorted(Path(file) for file in files if file.startswith(package))
    return Checkpoint(WORK / "checkpoints" / params.name / name, fingerprint(settings, code, data))
