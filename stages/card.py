"""Writes the model cards: for each pretrained model a README.md to put beside its weights, in reports/cards/."""

import csv
from itertools import product

from stages.common import run
from stages.paths import REPORTS, dataset_folder, key, model_folder, read_json

from hrrl.common.files import replacing
from hrrl.data import readers
from hrrl.train.model_card import model_card


def main(params):
    data = read_json(dataset_folder() / "dataset.json")
    kind = readers.load(data["kind"])
    with replacing(REPORTS / "cards") as folder:
        for variant, seed in product(params.runs.pretrain, params.seeds):
            model = model_folder(variant, seed)
            card = model_card(read_json(model / "model.json"), last_epoch(model), data, kind.source, kind.licence)
            (folder / key(variant, seed)).mkdir(parents=True)
            (folder / key(variant, seed) / "README.md").write_text(card, encoding="utf-8")


def last_epoch(model) -> dict[str, str]:
    """The last row of a training's history."""
    with open(model / "history.csv", newline="", encoding="utf-8") as file:
        *_, row = csv.DictReader(file)
    return row


if __name__ == "__main__":
    run(main)
