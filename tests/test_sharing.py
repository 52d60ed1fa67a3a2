"""What a run leaves for others: model cards, and models that can be fetched from the repository."""

import csv
import json
import re
import shutil

import pytest
from conftest import call
from huggingface_hub import ModelCard
from pages import ROOT, commands

from hrrl.data import readers
from hrrl.train import models

MODEL, CARD = "models/hrrl-0", "reports/cards/hrrl-0/README.md"


def test_a_model_card_has_what_the_run_measured_and_loads_the_weights_as_it_stands(clone, monkeypatch):
    folder = clone / MODEL
    card = ModelCard.load(clone / CARD)
    *_, measured = csv.DictReader((folder / "history.csv").read_text().splitlines())
    [result] = card.data.eval_results
    assert result.metric_value == round(float(measured["val_accuracy"]), 2)
    assert f"| garment | {float(measured['accuracy_garment']):.2f} |" in card.text
    assert "| licence | MIT |" in card.text
    settings = json.loads(re.search(r"```json\n(.*?)```", card.text, re.DOTALL)[1])
    assert settings["hrrl"]["example"] == {"gradient": {"tau": 0.5}}
    program = re.search(r"```python\n(.*?)```", card.text, re.DOTALL)[1]
    monkeypatch.chdir(folder)
    names = {}
    exec(program, names)
    assert not names["model"].training


def test_the_documents_recipe_takes_a_models_features(clone, monkeypatch):
    program = re.search(
        r"(import torch\nfrom hrrl import extract_features.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL
    )
    monkeypatch.chdir(clone)
    names = {}
    exec(program[1], names)
    assert names["features"].shape == (4, 128)


def test_a_change_of_the_card_trains_nothing(restored):
    template = restored / "hrrl/train/model_card.md.j2"
    template.write_text(template.read_text() + "\nMore.\n")
    lines = call(restored, "dvc", "repro", "--dry").splitlines()
    stages = {line.split("'")[1].split("@")[0] for line in lines if line.startswith("Running stage")}
    assert stages == {"resolve", "card"}  # resolve looks at all code anew


def test_every_kind_says_where_its_images_are_from():
    assert [name for name in readers.names() if readers.load(name).source == "not stated"] == []


@pytest.fixture
def shell(restored, tmp_path):
    """Runs the commands of docs/sharing.md, in a copy of the clone, a folder elsewhere, or another DVC repository."""
    folders = {name: tmp_path / name for name in ("hrrl", "elsewhere", "other", "store", "origin")}
    shutil.copytree(restored, folders["hrrl"], symlinks=True)
    for name in ("elsewhere", "other", "origin"):
        folders[name].mkdir()
    call(folders["origin"], "git", "init", "-q", "--bare")
    call(folders["hrrl"], "git", "remote", "add", "origin", str(folders["origin"]))
    call(folders["other"], "git", "init", "-q")
    call(folders["other"], "dvc", "init", "-q")
    places = {"/mnt/results/hrrl": folders["store"], "https://host/hrrl.git": folders["hrrl"]}

    def run(place: str, lines: list[str]):
        for line in lines:
            for there, here in places.items():
                line = line.replace(there, str(here))
            call(folders[place], "sh", "-c", line)
        return folders[place]

    return run


def test_models_are_fetched_by_path_and_by_name_as_the_page_says(restored, shell):
    weights = (restored / MODEL / "model.safetensors").read_bytes()
    shell("hrrl", commands("docs/sharing.md", "dvc remote add --default store /mnt"))
    shell("hrrl", commands("docs/sharing.md", "git add"))
    source = shell("hrrl", commands("docs/sharing.md", "git tag"))
    shutil.rmtree(source / ".dvc/cache")  # what is fetched comes from the remote
    shutil.rmtree(source / "models")
    shutil.rmtree(source / "reports/cards")
    fetched = shell("elsewhere", commands("docs/sharing.md", "dvc get")) / "hrrl-0"
    imported = shell("other", commands("docs/sharing.md", "dvc import")) / "hrrl"
    assert (fetched / "model.safetensors").read_bytes() == weights
    assert ModelCard.load(fetched / "README.md").data.library_name == "pytorch"
    shutil.rmtree(fetched)
    shell("elsewhere", commands("docs/sharing.md", "dvc artifacts get"))
    for folder in (fetched, imported):
        assert (folder / "model.safetensors").read_bytes() == weights
        assert models.load(folder)[1]["seed"] == 0
