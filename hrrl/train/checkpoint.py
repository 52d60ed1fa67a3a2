"""Crash-safe checkpoints: a run that is killed at any moment resumes, and ends with the same bytes."""

import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from hrrl.common.files import replacing
from hrrl.errors import note

KEEP = 2  # the newest, and the one before it in case the newest is damaged


def fingerprint(params: dict, code: list[Path], data: list[Path]) -> dict[str, str]:
    """What a run depends on, as one hash for each of params, code and data; a checkpoint fits only the same three.

    ``code`` and ``data`` are files or folders; of a folder, every file below it counts.
    """
    machine = [torch.__version__, torch.get_num_threads(), torch.cuda.is_available()]
    return {
        "params": hashlib.sha256(json.dumps([params, machine], sort_keys=True).encode()).hexdigest(),
        "code": _hash_files(code),
        "data": _hash_files(data),
    }


class Checkpoint:
    """The checkpoints of one run, in a folder of their own: one file per epoch, the last two are kept.

    What an epoch leaves for the end of the run, its record, is written once, in a file of its own: checkpoints stay as
    small as the state, however long the run.
    """

    def __init__(self, folder: Path, key: dict[str, str]):
        self.folder, self.key = Path(folder), key

    def load(self) -> tuple[dict, list] | None:
        """The newest readable state of this very run and the records of all epochs until then, or None.

        Notes why where it skips one.
        """
        for file in sorted(self.folder.glob("epoch-*.pt"), reverse=True):
            try:
                saved = _load(file)
                key, state = saved["key"], saved["state"]
                changed = [part for part in self.key if key.get(part) != self.key[part]]
                records = [] if changed else [_load(self._record(n + 1)) for n in range(state["epoch"])]
            except Exception as error:  # whatever a damaged file raises
                note(f"{file} or a record is damaged ({type(error).__name__}); using the checkpoint before it")
                continue
            if changed:
                note(f"{self.folder}: starting afresh, because {' and '.join(changed)} changed since its checkpoint")
                self.clear()
                return None
            steps = f" and {state['within']['step']} steps" if state.get("within") else ""
            note(f"going on after epoch {state['epoch']}{steps}, from {file}")
            return state, records
        return None

    def save(self, state: dict[str, Any], record: dict[str, torch.Tensor] | None = None) -> None:
        """Writes the state after ``state["epoch"]`` epochs, and the last one's record: whole, or not at all.

        A state within the next epoch comes without a record, and replaces the file of the last one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if record:
            _save(record, self._record(state["epoch"]))
        _save({"key": self.key, "state": state}, self.folder / f"epoch-{state['epoch']:05d}.pt")
        for old in sorted(self.folder.glob("epoch-*.pt"))[:-KEEP]:
            old.unlink()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record(self, epoch: int) -> Path:
        return self.folder / f"record-{epoch:05d}.pt"


def _load(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True)


def _save(content: dict[str, Any], file: Path) -> None:
    data = io.BytesIO()  # torch.save hides a full disk behind an error of its own
    torch.save(content, data)
    with replacing(file) as temporary:
        temporary.write_bytes(data.getbuffer())


def _hash_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
