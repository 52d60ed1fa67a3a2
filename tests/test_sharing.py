"""What a run leaves for others: model cards, and models that can be fetched from the repository."""

import json
import re

from conftest import call
from huggingface_hub import ModelCard

from hrrl.datasets import kinds

MODEL = "models/smoke/hrrl-0"


def test_a_model_card_has_what_the_run_measured_and_loads_the_weights_as_it_stands(restored):
    folder = restored / MODEL
    card = ModelCard.load(folder / "README.md")
    *_, last = (folder / "history.csv").read_text().splitlines()
    columns = (folder / "history.csv").read_text().splitlines()[0].split(",")
    measured = dict(zip(columns, last.split(","), strict=True))
    [result] = card.data.eval_results
    assert result.metric_value == round(float(measured["val_accuracy"]), 2)
    assert f"| garment | {float(measured['accuracy_garment']):.2f} |" in card.text
    assert "| licence | MIT |" in card.text
    settings = json.loads(re.search(r"```json\n(.*?)```", card.text, re.DOTALL)[1])
    assert settings["hrrl"]["example"] == {"gradient": {"tau": 0.5}}
    program = re.search(r"```python\n(.*?)```", card.text, re.DOTALL)[1]
    call(folder, "python", "-c", f"{program}\nassert not model.training")


def test_a_change_of_the_card_trains_nothing(restored):
    template = restored / "hrrl/model_card.md.j2"
    template.write_text(template.read_text() + "\nMore.\n")
    lines = call(restored, "dvc", "repro", "--dry").splitlines()
    stages = {line.split("'")[1].split("@")[0] for line in lines if line.startswith("Running stage")}
    assert stages == {"card", "report"}


def test_every_kind_says_where_its_images_are_from():
    assert [name for name in kinds.names() if kinds.load(name).source == "not stated"] == []
