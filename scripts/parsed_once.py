"""DVC's YAML files parsed once, and dvc.lock written stage by stage.

DVC parses params.yaml, dvc.yaml and dvc.lock several times for each cell, and formats dvc.lock anew: seconds for each
of a hundred cells. Here a text is parsed once in a process; and as a stage is a block of lines of its own in dvc.lock,
only new blocks are parsed, and a stage is exchanged as text, in one step that no kill can halve. What is read and
written is the same. `make repro` works so by itself, .venv/bin/dvc by scripts/dvc_command.py.
"""

import pickle
from functools import cache
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.stage import serialize
from dvc.utils import strictyaml
from dvc.utils.serialize import _yaml, dumps_yaml

from hrrl.files import replacing

HEAD = "schema: '2.0'\nstages:\n"
PARSE, READ, WRITE = _yaml.parse_yaml, Lockfile._load_yaml, Lockfile.dump_stages  # DVC's own


def speed_up() -> None:
    """Puts the functions here in the place of DVC's, in this process."""
    _yaml.parse_yaml = strictyaml.parse_yaml = parse
    Lockfile._load_yaml = read
    Lockfile.dump_stages = write


def parse(text: str, path, typ: str = "safe"):
    """The content of a YAML text."""
    return PARSE(text, path, typ) if typ != "safe" else pickle.loads(_parsed(text, str(path)))


@cache
def _parsed(text: str, path: str) -> bytes:
    return pickle.dumps(PARSE(text, path))


def read(self, **kwargs):
    """The content of dvc.lock and its text, as DVC's function gives them; another revision's by that function."""
    text = Path(self.path).read_text() if isinstance(self.repo.fs, LocalFileSystem) else ""
    if not is_plain(text):
        return READ(self, **kwargs)
    _, *blocks = split(text)
    content: dict = {"schema": "2.0", "stages": {}}
    try:
        for block in blocks:
            content["stages"] |= parse(block, self.path)
    except DvcException:
        return READ(self, **kwargs)  # which says what is wrong
    return self.validate(content, self.path), text


def write(self, stages, **kwargs) -> None:
    """Puts stages into dvc.lock, those that it has in their place and others at the end."""
    path = Path(self.path)
    text = path.read_text() if path.exists() else HEAD
    if not is_plain(text):
        return WRITE(self, stages, **kwargs)
    head, *blocks = split(text)
    known = named(blocks)
    for stage in stages:
        block = dumps_yaml({"stages": serialize.to_lockfile(stage, **kwargs)}).partition("\n")[2]
        known |= named([block])
    if (new := head + "".join(known.values())) != text:
        with replacing(path) as temporary:
            temporary.write_text(new)
        self.repo.scm_context.track_file(self.relpath)


def is_plain(text: str) -> bool:
    """Whether a dvc.lock holds stages and nothing else, as DVC writes it."""
    rest = text.removeprefix(HEAD)
    return len(rest) < len(text) and all(line.startswith("  ") for line in rest.splitlines())


def split(text: str) -> list[str]:
    """What stands in dvc.lock before the first stage, and each stage: it begins with a line that is indented by two."""
    head, *blocks = text.split("\n  ")
    parts = [f"{head}\n"]
    for block in blocks:
        if block[:1] in (" ", "-", ":"):
            parts[-1] += f"  {block}\n"
        else:
            parts.append(f"  {block}\n")
    parts[-1] = parts[-1][:-1]  # the text ends with a line's end
    return parts


def named(blocks: list[str]) -> dict[str, str]:
    """The blocks of stages by their first lines, the stages' names."""
    return {block.partition("\n")[0]: block for block in blocks}


def is_stage(block: str) -> bool:
    """Whether a block of dvc.lock is whole, as far as DVC can tell."""
    try:
        Lockfile.validate(PARSE(HEAD + block, Lockfile.__name__))
    except DvcException:
        return False
    return "\ufffd" not in block  # a character that was cut in two
