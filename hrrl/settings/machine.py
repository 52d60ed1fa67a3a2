"""machine.yaml: how this machine takes part, which changes no result; git leaves it alone (machine.example.yaml)."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from hrrl.errors import UserError
from hrrl.settings import params_file

FILE = Path("machine.yaml")
MOST = {"jobs": 1024, "workers": 1024, "node_rank": 10**9, "master_port": 65535}  # of each number
LEAST = {"jobs": 1, "master_port": 1}
ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Machine:
    """The settings of one machine.

    Attributes:
        jobs: cells that `make repro` runs side by side.
        workers: processes that decode images of more than 64 pixels, for each process that trains.
        node_rank: which of the nodes this is, where ``launch.nnodes`` asks for several.
        master_addr: of the node with rank 0; master_port: on which it takes the others.
    """

    jobs: int = 2
    workers: int = 2
    node_rank: int = 0
    master_addr: str = "127.0.0.1"
    master_port: int = 29500


def load(path: Path = FILE) -> Machine:
    """What the file says, the rest as in :class:`Machine`; without a file, all of it.

    Raises:
        UserError: one line per key that is unknown or takes something else.
    """
    content = params_file.read(path, like="machine.example.yaml") if path.exists() else {}
    if problems := [problem for key, value in content.items() if (problem := _problem(str(key), value))]:
        raise UserError(*(f"{path}: {problem}" for problem in problems))
    return Machine(**content)


def _problem(key: str, value: object) -> str | None:
    known = [field.name for field in dataclasses.fields(Machine)]
    if key not in known:
        return f"{params_file.cut(key)}: unknown key; known: {', '.join(known)}"
    if key == "master_addr":
        address = isinstance(value, str) and ADDRESS.fullmatch(value)
        return None if address else f"{key}: takes a host's name or address, got {params_file.shown(value)}"
    least, most = LEAST.get(key, 0), MOST[key]
    fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    return None if fits else f"{key}: takes a whole number from {least} to {most}, got {params_file.shown(value)}"
