"""Packs a dataset of params.yaml into one zip of smaller JPEG files: python -m scripts.pack NAME (or `make pack`)."""

import argparse
from pathlib import Path

from hrrl.data.pack import pack
from hrrl.data.synsets import OF_KINDS
from hrrl.errors import UserError
from hrrl.settings.schema import load
from scripts import run

FOLDER = Path("data/packed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a key of `datasets` in params.yaml")
    parser.add_argument("--side", type=int, default=256, help="pixels of the short side")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files")
    args = parser.parse_args()
    datasets = load().datasets
    if args.name not in datasets:
        raise UserError(f"datasets: {args.name!r} is not defined; known: {', '.join(datasets)}")
    if not (args.side >= 1 and 1 <= args.quality <= 100):
        raise UserError(f"takes a side of 1 pixel or more and a quality of 1 to 100; got {args.side}, {args.quality}")
    path = pack(datasets[args.name], args.name, FOLDER, args.side, args.quality)
    shipped = OF_KINDS.get(datasets[args.name].kind)  # which imagefolder has not
    synsets = f", synsets: {shipped}" if shipped else ""
    print(f"datasets.{args.name}: set root: {path}, and kind: imagefolder{synsets}")


if __name__ == "__main__":
    run(main)
