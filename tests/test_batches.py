"""Batches and their augmentation against loops over single images, with the same random numbers."""

import contextlib
import time

import numpy as np
import pytest
import torch
from test_data import PADDED, RESIZED, definition, everything, sources, write_tree
from torchvision.transforms import v2

from hrrl.data.augment import Augment, augment_batch, crop_boxes, flip_some

ORDER, BATCH, IMAGE = 0, 1, 2  # the first number of a random stream's seed
NONE = Augment(crop="none", flip=False)


def opened(folder, pixels, **settings):
    """The training images of a tree of photographs; what is cached lies in the folder."""
    with contextlib.chdir(folder):
        resolution = settings.pop("resolution", None)
        given = definition("imagefolder", write_tree(folder / "tree", **settings), resolution=resolution)
        return sources(given, pixels)[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("small"), 64)


@pytest.fixture(scope="module")
def larges(tmp_path_factory) -> dict:
    """For networks of 72 pixels: images by their size, at a resolution below theirs, and grey ones in arrays."""
    folder, digits = tmp_path_factory.mktemp("large"), definition("digits", train="train[:1]", test="test[:1]")
    (folder / "reduced").mkdir()
    found = {(90, 120): opened(folder, 72, train=2), (8, 8): sources(digits, 72, folder=folder / "digits")[0]}
    return found | {(50, 50): opened(folder / "reduced", 72, train=1, resolution=50)}


def box(areas, ratios, centre, height, width) -> list[int]:
    """top, left, height, width of a random resized crop, as torchvision's documentation has it."""
    for area, ratio in zip(areas, ratios, strict=True):
        w, h = round((height * width * area * ratio) ** 0.5), round((height * width * area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            return [int(centre[0] * (height - h + 1)), int(centre[1] * (width - w + 1)), h, w]
    if width / height < 3 / 4:
        w, h = width, round(width * 4 / 3)
    elif width / height > 4 / 3:
        w, h = round(height * 4 / 3), height
    else:
        w, h = width, height
    return [(height - h) // 2, (width - w) // 2, h, w]


def boxes(rng, n, height, width, scale) -> list[list[int]]:
    areas = rng.uniform(*scale, (n, 10))
    ratios = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), (n, 10)))
    centres = rng.random((2, n)).T
    return [box(*draws, height, width) for draws in zip(areas, ratios, centres, strict=True)]


SIZES = [(30, 40, (0.08, 1.0)), (9, 200, (0.5, 1.0)), (200, 9, (0.9, 1.0)), (11, 12, (1.0, 1.0)), (2, 1, (0.01, 0.3))]


@pytest.mark.parametrize(("height", "width", "scale"), SIZES)
def test_boxes_are_those_of_a_loop(height, width, scale):
    found = crop_boxes(np.random.default_rng(5), 300, height, width, scale)
    assert found.tolist() == boxes(np.random.default_rng(5), 300, height, width, scale)
    assert found.dtype == np.int64


def photos(n: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def shifted(image: torch.Tensor, padding: int, down: int, right: int) -> torch.Tensor:
    """An image in a black frame, cut out again ``down`` and ``right`` of the frame's corner."""
    _, S, _ = image.shape
    out = torch.zeros_like(image)
    for y in range(S):
        for x in range(S):
            a, b = y + down - padding, x + right - padding
            if 0 <= a < S and 0 <= b < S:
                out[:, y, x] = image[:, a, b]
    return out


@pytest.mark.parametrize("part", [slice(0, 8), slice(3, 6)])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("crop", ["none", "padded", "padded by 0", "random_resized"])
def test_a_batch_is_augmented_image_by_image(crop, flip, part):
    augment = Augment(crop=crop.removesuffix(" by 0"), padding=0 if "0" in crop else 2, scale=(0.3, 0.9), flip=flip)
    images, rng = photos(8, 7), np.random.default_rng(3)
    expected = images
    if crop == "padded":
        offsets = rng.integers(0, 5, (8, 2)).tolist()
        expected = torch.stack([shifted(image, 2, *where) for image, where in zip(images, offsets, strict=True)])
    if crop == "random_resized":
        cut = boxes(rng, 8, 7, 7, (0.3, 0.9))
        expected = torch.stack(
            [v2.functional.resized_crop(image, *b, [7, 7]) for image, b in zip(images, cut, strict=True)]
        )
    if flip:
        draws = rng.random(8)
        expected = torch.stack([image.flip(2) if d < 0.5 else image for image, d in zip(expected, draws, strict=True)])
    found = augment_batch(images[part], augment, np.random.default_rng(3), part, 8)
    assert torch.equal(found, expected[part])
    assert torch.equal(images, photos(8, 7))
    assert torch.equal(flip_some(images[:2], np.array([0.49, 0.5]))[1], images[1])


@pytest.mark.parametrize(("crop", "key"), [("padded", "padding"), ("random_resized", "scale")])
def test_a_crop_without_its_setting_is_refused(crop, key):
    with pytest.raises(ValueError, match=f"crop: {crop} takes {key}"):
        Augment(crop=crop, flip=False)


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("augment", [NONE, PADDED, RESIZED], ids=["none", "padded", "random_resized"])
def test_small_images_come_in_batches_of_the_epochs_order(small, augment, world, rank):
    """21 images in batches of 8: two, and five images are left out. Each batch is augmented by numbers of its own."""
    source, images, part = small, everything(small), torch.arange(8).tensor_split(world)[rank]
    assert torch.equal(images[4], v2.functional.resize(source.pixels.read(4), [64, 64]))
    for seed, epoch in ((3, 0), (3, 2), (5, 0)):
        order = np.random.default_rng((ORDER, seed, epoch)).permutation(21)
        found = list(source.train_batches(8, augment, seed, epoch, rank, world))
        assert len(found) == source.steps(8) == 2
        for step, (x, y, m) in enumerate(found):
            batch = order[8 * step : 8 * step + 8]
            rng = np.random.default_rng((BATCH, seed, epoch, step))
            expected = augment_batch(images[batch], augment, rng, slice(None), 8)
            assert torch.equal(x, expected[part])
            assert torch.equal(y, source.labels[batch][part])
            assert m == 8
    [(_, late, _)] = source.train_batches(8, augment, 5, 0, rank, world, slice(1, 2))
    assert torch.equal(late, found[1][1])


@pytest.mark.parametrize("size", [(90, 120), (50, 50), (8, 8)])
@pytest.mark.parametrize("crop", ["none", "padded", "random_resized"])
@pytest.mark.parametrize("flip", [True, False])
def test_large_images_are_augmented_one_by_one(larges, size, crop, flip):
    """Resized crops from the image as it is, everything else from its centre; by numbers of the image's own."""
    source, augment = larges[size], Augment(crop=crop, padding=5, scale=(0.2, 0.8), flip=flip)
    plain, order = everything(source), np.random.default_rng((ORDER, 4, 1)).permutation(len(source))
    [(x, y, m)] = source.train_batches(len(source), augment, 4, 1)
    assert (m, y.tolist()) == (len(source), source.labels[order].tolist())
    for image, i in zip(x, order.tolist(), strict=True):
        rng = np.random.default_rng((IMAGE, 4, 1, i))
        expected = plain[i]
        if crop == "padded":
            expected = shifted(expected, 5, *rng.integers(0, 11, (1, 2))[0].tolist())
        if crop == "random_resized":
            [cut] = boxes(rng, 1, *size, (0.2, 0.8))
            whole = v2.functional.resize(source.pixels.read(i), list(size))
            expected = v2.functional.resized_crop(whole, *cut, [72, 72]).expand(3, -1, -1)
        if flip and rng.random() < 0.5:
            expected = expected.flip(2)
        assert torch.equal(image, expected), i


WHOLE, MIDDLE = slice(None), slice(52, 148)
CENTRES = [((90, 124), 68, WHOLE, WHOLE), ((130, 75), 68, WHOLE, WHOLE), ((80, 80), 65, WHOLE, WHOLE)]
CENTRES += [((3, 200), 72, WHOLE, MIDDLE), ((200, 3), 72, MIDDLE, WHOLE)]


@pytest.mark.parametrize(("size", "pixels", "rows", "columns"), CENTRES)
def test_evaluation_of_large_images_takes_the_centre(tmp_path, size, pixels, rows, columns):
    """The short side is 256/224 of the network's, as torchvision does it, which rounds to the nearest.

    Of a long side more than 32 times the short one only the centre counts.
    """
    source = opened(tmp_path, pixels, train=1, size=size)
    expected = v2.Compose([v2.Resize(round(pixels * 256 / 224)), v2.CenterCrop(pixels)])
    for i, image in enumerate(everything(source)):
        assert torch.equal(image, expected(source.pixels.read(i)[:, rows, columns]))


def test_no_image_is_written_over_before_it_was_read(tmp_path):
    """Of more images than fit in the memory that is shared with who decodes them, however slow the reader."""
    source = sources(definition("digits", train="train[:12]", test="test[:1]"), 65, folder=tmp_path / "digits")[0]
    batches, expected = source.eval_batches(1), v2.Compose([v2.Resize(74), v2.CenterCrop(65)])
    first = next(batches)[0]
    time.sleep(0.2)
    for i, image in enumerate(torch.cat([first, *(x for x, _ in batches)])):
        assert torch.equal(image, expected(source.pixels.read(i)).expand(3, -1, -1)), i


@pytest.mark.parametrize("size", [28, 72])
def test_a_resolution_is_that_of_the_images_before_they_are_enlarged(tmp_path, size):
    source = opened(tmp_path, size, train=1, size=(40, 40), resolution=7)
    for i, image in enumerate(everything(source)):
        low = v2.functional.resize(source.pixels.read(i), [7, 7])
        if size == 28:
            assert torch.equal(image, v2.functional.resize(low, [28, 28]))
        else:
            assert torch.equal(image, v2.Compose([v2.Resize(82), v2.CenterCrop(72)])(low))
    if size == 28:
        with contextlib.chdir(tmp_path):  # where the others are cached
            again, larger = (sources(definition("imagefolder", tmp_path / "tree"), side)[0] for side in (28, 30))
        assert everything(larger).shape[2:] == (30, 30)
        assert torch.equal(everything(again)[1], v2.functional.resize(again.pixels.read(1), [28, 28]))
