"""The pictures of the report: drawn by a seed from real files, the same bytes, safe and small in the page."""

import copy
import json

import numpy as np
import torch
from conftest import COMPUTE, network
from PIL import Image

from hrrl.gallery import panels
from hrrl.gallery.sheets import evenly, some, spread, write_sheet
from hrrl.methods.example.gradient import Gradient
from hrrl.methods.interfaces import Perturbation
from hrrl.train import runtime


def tiles(file, size: int = 16) -> list[np.ndarray]:
    """The (size, size, 3) images in the first row of a sheet, where they are enlarged."""
    sheet, times = np.array(Image.open(file))[..., :3], 84 // size
    side = times * size
    return [sheet[:side:times, start : start + side : times] for start in range(0, sheet.shape[1], side + 4)]


def test_images_are_spread_over_classes_and_drawn_by_the_seed():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    chosen = spread(np.random.default_rng(0), labels, [2, 1, 0], 8)
    assert labels[chosen].tolist() == [2, 2, 2, 1, 1, 1, 0, 0]
    assert chosen.tolist() == spread(np.random.default_rng(0), labels, [2, 1, 0], 8).tolist()
    assert evenly([1, 2, 3, 4, 5], 3) == [1, 3, 5]
    assert evenly([1], 3) == [1]
    five = some(np.random.default_rng(0), list("abcdefgh"), 5)
    assert (len(set(five)), five) == (5, sorted(five))


def test_moved_images_have_the_length_and_the_loss_that_is_said(task, tmp_path):
    points = [({"gradient": {"tau": 0.3}}, Gradient(0.3)), ({"gradient": {"tau": 0.0}}, Perturbation())]
    with runtime.start(COMPUTE) as here:
        shown = panels.moves(tmp_path, network().eval(), task, here, points, seed=0)
    for image in shown:
        as_is, moved, still = image["rows"]
        assert abs(moved["length"] - 0.3) < 1e-4
        assert (as_is["length"], still["length"]) == (0, 0)
        assert moved["loss"] > as_is["loss"] == still["loss"]
        assert (tmp_path / moved["picture"]["file"]).exists()
        assert image["class"] in moved["picture"]["alt"]
        assert 0.1 < as_is["probability"] < 1  # the greatest of ten
        [before], (after, by) = (tiles(tmp_path / row["picture"]["file"]) for row in (as_is, moved))
        logits = network().eval()(torch.tensor(before).permute(2, 0, 1)[None] / 255)
        assert as_is["prediction"] == task.test.classes[int(logits.argmax())]
        inside = (before > 20) & (before < 235) & (by > 0) & (by < 255)
        step = (by - 127.5) / moved["amplified"]
        assert np.abs((after.astype(int) - before - step)[inside]).max() <= 1 < np.abs(step[inside]).max()
        difference = np.array(Image.open(tmp_path / moved["picture"]["file"]))[:, -80:, :3].astype(int)
        assert np.isin(difference, (0, 255)).mean() < 0.03  # it fills the range around grey, nearly all of it
        assert np.abs(difference - 127).max() > 50


def test_points_are_those_in_use_and_the_others_of_their_size():
    own = {"erm": None, "el": {"gradient": {"tau": 0.2}}, "noise": {"noise": {"tau": 0.4}}}
    variants = {name: {"example": example, "concept": None} for name, example in own.items()}
    others = [{"pgd": {"eps": 0.2, "steps": 3}}, {"wrm": {"gamma": 3.0, "steps": 15}}]
    assert panels.points(variants, "el") == [own["el"], own["noise"], *others]
    assert panels.points({"erm": variants["erm"]}, "erm")[0] == {"gradient": {"tau": 0.5}}
    several = variants | {f"el{tau}": {"example": {"gradient": {"tau": tau}}} for tau in (0.8, 0.4)}
    assert {"pgd": {"eps": 0.4, "steps": 3}} in panels.points(several, "erm")  # the middle one in use


def test_neighbours_are_the_nearest_of_standardised_features(task, tmp_path):
    random = np.random.default_rng(0)
    train_x, of_class = random.normal(size=(100, 5)) * [1, 1, 1, 1, 100], random.normal(size=(10, 5))
    features = {"train_x": train_x, "test_x": of_class[task.test.labels]}
    [row] = panels.neighbours(tmp_path, {"t": (task.train, task.test)}, {"erm": {"t": features}}, seed=0)
    assert len(row["queries"]) == 3
    images = torch.cat([x for x, _ in task.train.eval_batches(100)]).permute(0, 2, 3, 1).numpy()
    for query in row["queries"]:
        distance = (((train_x - of_class[int(query["class"])]) / train_x.std(0)) ** 2).sum(1)
        assert query["models"]["erm"]["classes"] == [str(int(task.train.labels[i])) for i in distance.argsort()[:4]]
        shown = tiles(tmp_path / query["models"]["erm"]["picture"]["file"])
        np.testing.assert_array_equal(shown, images[distance.argsort()[:4]])


def test_classes_that_a_target_shares_with_the_benchmark_come_first(task, tmp_path):
    target = copy.copy(task.test)
    target.classes = ["a", "b", "c", "d", "e", *task.test.classes[5:]]
    benchmark, mine = panels.datasets(tmp_path, task.test, {"t": target}, seed=0)
    assert (benchmark["shared"], mine["shared"]) == (task.test.classes, task.test.classes[5:])
    first, shown = (row["picture"]["alt"].removeprefix("Images of ").split(", ") for row in (benchmark, mine))
    assert len(set(shown)) == len(set(first)) == 8  # one image of each
    assert shown[: len({*first} & {*mine["shared"]})] == [name for name in first if name in mine["shared"]]


def test_sheets_are_the_same_bytes_at_any_size(tmp_path):
    for size in (8, 28, 64, 224):
        images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
        one, two = (write_sheet(tmp_path / name, f"s{size}", images, "five") for name in ("one", "two"))
        assert one == two
        assert one["width"] <= 4 * 112 + 12
        if size <= 28:  # without loss
            found = np.array(tiles(tmp_path / "one" / one["file"], size)) / 255
            np.testing.assert_allclose(found, images[:4].permute(0, 2, 3, 1), atol=0.51 / 255)
        assert (tmp_path / "one" / one["file"]).read_bytes() == (tmp_path / "two" / two["file"]).read_bytes()


def test_the_page_shows_the_gallery_of_the_run(clone):
    content = json.loads((clone / "data/gallery/gallery.json").read_text())
    assert [row["name"] for row in content["concepts"]] == ["garment", "footwear", "container"]
    assert [row["name"] for row in content["datasets"]] == ["", "lowres", "digits"]
    assert {next(iter(row["point"])) for row in content["moves"][0]["rows"][1:]} == {"gradient", "pgd", "wrm", "noise"}
    page = (clone / "reports/report.html").read_text()
    assert page.count("data:image/webp") == len(list((clone / "data/gallery").glob("*.webp")))
    assert len(page) < 4_000_000
