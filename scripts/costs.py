"""How long cells take: measured in earlier runs on this machine, guessed from others of the same stage elsewhere."""

import json
from pathlib import Path
from statistics import mean

from hrrl.common.files import write_json


class Costs:
    """Seconds per cell of a preset.

    Args:
        file: where the last measured ones are, and where :meth:`add` keeps new ones.
        usual: stage -> seconds per cell, for stages that have never run here.
    """

    def __init__(self, file: Path, usual: dict[str, float]):
        self.file, self.usual = Path(file), usual
        self.seconds = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}

    def add(self, cell: str, seconds: float) -> None:
        self.seconds[cell] = round(seconds, 2)
        write_json(self.file, self.seconds)

    def of(self, cell: str) -> float | None:
        """The last time of this cell, else the mean of its stage's, else the usual; None where nothing is known."""
        if cell in self.seconds:
            return self.seconds[cell]
        stage = cell.partition("@")[0]
        others = [seconds for other, seconds in self.seconds.items() if other.partition("@")[0] == stage]
        return mean(others) if others else self.usual.get(stage)


def usual(name: str) -> dict[str, float]:
    """stage -> seconds per cell, as measured for benchmarks/results.json with this preset, if it was."""
    file = Path("benchmarks/results.json")
    return json.loads(file.read_text(encoding="utf-8")).get("cells", {}).get(name, {}) if file.exists() else {}
