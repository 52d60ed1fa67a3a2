"""Writes the model card of one pretrained model: the README.md beside its weights."""

import csv

from stages.common import run
from stages.paths import dataset_folder, model_folder, read_json

from hrrl.datasets import kinds
from hrrl.files import replacing
from hrrl.model_card import model_card


def main(params, variant, seed):
    folder, data = model_folder(params, variant, seed), read_json(dataset_folder(params) / "dataset.json")
    with open(folder / "history.csv", newline="") as file:
        *_, last_epoch = csv.DictReader(file)
    kind = kinds.load(data["kind"])
    card = model_card(read_json(folder / "model.json"), last_epoch, data, kind.source, kind.licence)
    with replacing(folder / "README.md") as file:
        file.write_text(card)


if __name__ == "__main__":
    run(main, "variant", "seed")
