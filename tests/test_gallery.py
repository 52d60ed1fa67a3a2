"""The pictures of the report: drawn by a seed from real files, the same bytes, safe and small in the page."""

import json

import numpy as np
import torch
from conftest import COMPUTE, network

from hrrl.gallery import panels
from hrrl.gallery.sheets import Album, evenly, spread
from hrrl.methods.example.gradient import Gradient
from hrrl.methods.interfaces import Perturbation
from hrrl.train import runtime


def test_images_are_spread_over_classes_and_drawn_by_the_seed():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    chosen = spread(np.random.default_rng(0), labels, [2, 1, 0], 8)
    assert labels[chosen].tolist() == [2, 2, 2, 1, 1, 1, 0, 0]
    assert chosen.tolist() == spread(np.random.default_rng(0), labels, [2, 1, 0], 8).tolist()
    assert evenly([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert evenly([1], 3) == [1]


def test_moved_images_have_the_length_and_the_loss_that_is_said(task, tmp_path):
    points = [({"gradient": {"tau": 0.3}}, Gradient(0.3)), ({"gradient": {"tau": 0.0}}, Perturbation())]
    with runtime.start(COMPUTE) as here:
        shown = panels.moves(Album(tmp_path), network().eval(), task, here, points, seed=0)
    for image in shown:
        as_is, moved, still = image["rows"]
        assert abs(moved["length"] - 0.3) < 1e-4
        assert (as_is["length"], still["length"]) == (0, 0)
        assert moved["loss"] > as_is["loss"] == still["loss"]
        assert (tmp_path / moved["picture"]["file"]).exists()
        assert image["class"] in moved["picture"]["alt"]


def test_points_are_those_in_use_and_the_others_of_their_size():
    own = {"erm": None, "el": {"gradient": {"tau": 0.2}}, "noise": {"noise": {"tau": 0.4}}}
    variants = {name: {"example": example, "concept": None} for name, example in own.items()}
    others = [{"pgd": {"eps": 0.2, "steps": 3}}, {"wrm": {"gamma": 3.0, "steps": 15}}]
    assert panels.points(variants, "el") == [own["el"], own["noise"], *others]
    assert panels.points({"erm": variants["erm"]}, "erm")[0] == {"gradient": {"tau": 0.5}}


def test_neighbours_are_the_nearest_of_standardised_features(task, tmp_path):
    random = np.random.default_rng(0)
    features = {"train_x": random.normal(size=(100, 5)) * [1, 1, 1, 1, 100], "test_x": random.normal(size=(70, 5))}
    [row] = panels.neighbours(Album(tmp_path), {"t": (task.train, task.test)}, {"erm": {"t": features}}, seed=0)
    assert all(len(query["models"]["erm"]["classes"]) == 4 for query in row["queries"])
    found = panels._nearest(features["train_x"], features["test_x"][:3], 4)
    train, test = (features[part] / features["train_x"].std(0) for part in ("train_x", "test_x"))
    distance = ((train[None] - test[:3, None]) ** 2).sum(2)
    np.testing.assert_array_equal(found, np.argsort(distance, axis=1, kind="stable")[:, :4])


def test_sheets_are_the_same_bytes_at_any_size(tmp_path):
    for size in (8, 28, 64, 224):
        images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
        one, two = (Album(tmp_path / name).add(f"s{size}", images, "five") for name in ("one", "two"))
        assert one == two
        assert one["width"] <= 4 * 112 + 12
        assert (tmp_path / "one" / one["file"]).read_bytes() == (tmp_path / "two" / two["file"]).read_bytes()


def test_the_page_shows_the_gallery_of_the_run(clone):
    content = json.loads((clone / "data/gallery/gallery.json").read_text())
    assert [row["name"] for row in content["concepts"]] == ["garment", "footwear", "container"]
    assert [row["name"] for row in content["datasets"]] == ["", "lowres", "digits"]
    assert {next(iter(row["point"])) for row in content["moves"][0]["rows"][1:]} == {"gradient", "pgd", "wrm", "noise"}
    page = (clone / "reports/report.html").read_text()
    assert page.count("data:image/webp") == len(list((clone / "data/gallery").glob("*.webp")))
    assert len(page) < 4_000_000
