"""Batches of the images that a manifest lists: small ones from memory, large ones decoded by worker processes.

All randomness follows from (seed, epoch) and an image's position in the epoch or in the manifest, so that neither the
number of processes nor the number of workers changes what an image looks like or which batch it is in.
"""

import contextlib
import functools
import hashlib
import itertools
import mmap
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrrl.common.files import locked, replacing
from hrrl.data import isolated
from hrrl.data.array_dataset import Arrays
from hrrl.data.augment import Augment, augment_batch, crop_boxes
from hrrl.data.decode import Box, boxed, cut, decode, decode_part, resize
from hrrl.data.image_folder import DatasetReader
from hrrl.data.locate import Definition, locate
from hrrl.data.manifest import Manifest, Rows, read_manifest
from hrrl.errors import UserError, reason

SMALL = 64  # pixels up to which images are held in memory at the network's size
CACHE = Path("data/cache")
FORMAT = 2  # of the cached pixels: raise it when decoding or resizing changes
LONGEST = 32  # the largest ratio of the sides; of longer images the centre is taken
CHUNK = 1024  # images that are decoded for one write to the disk
ORDER, BATCH, IMAGE = range(3)  # what a random stream is for

Decode = Callable[[int], torch.Tensor]  # an image's position in the split to the image
Batches = dict[int, np.ndarray]  # step in the epoch -> the images of all processes


def open_split(folder: str | Path, root: str | None, split: str, image_size: int, workers: int = 0) -> "Source":
    """The images of one split of the manifest in ``folder``, at the network's size.

    Args:
        root: where the files are; None for the places where datasets of this kind are looked for.
        split: "train" or "test", as the manifest has them.
        image_size: S, pixels.
    Raises:
        UserError: no manifest, the files are not where they were, or not what they were.
    """
    manifest = read_manifest(folder)
    definition = Definition(kind=manifest.kind, root=root, train=manifest.train)
    source_class = CachedSource if image_size <= SMALL else Source
    return source_class(manifest, split, functools.partial(locate, definition, f"{folder}: root"), image_size, workers)


class ImageFiles:
    """Images that are files, decoded when they are asked for."""

    def __init__(self, store: Any, rows: Rows):
        self.store, self.rows = store, rows

    def read(self, i: int, box: Box | None = None) -> torch.Tensor:
        """The (3, H, W) uint8 image i, or a part of it.

        Raises:
            OSError, ValueError: it is not the one listed, or cannot be decoded.
        """
        data = self.store.read(self.rows.paths[i])
        if len(data) != self.rows.bytes[i]:
            raise ValueError(f"has {len(data)} bytes, the manifest says {self.rows.bytes[i]}")
        if zlib.crc32(data) != self.rows.crcs[i]:
            raise ValueError("is not the file that was listed")
        return decode_part(data, box) if box else decode(data)


class ImageArrays:
    """Images of array files, in memory: (n, C, H, W) uint8."""

    def __init__(self, store: Arrays, images: torch.Tensor):
        self.store, self.images = store, images

    def read(self, i: int, box: Box | None = None) -> torch.Tensor:
        """The (C, H, W) uint8 image i, or a part of it."""
        return boxed(self.images[i], box) if box else self.images[i]


class Source:
    """The images of one split, as batches: read, cropped and resized one by one, by worker processes.

    Attributes:
        labels: (N,) int64.
    """

    def __init__(
        self, manifest: Manifest, split: str, find: Callable[[], DatasetReader], image_size: int, workers: int
    ):
        self.manifest, self.split, self.find = manifest, split, find
        self.rows, self.classes = manifest.splits[split], manifest.classes
        self.labels = torch.from_numpy(self.rows.labels.copy())
        self.image_size, self.workers = image_size, workers

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int) -> int:
        """Training batches per epoch: the last one is left out where it is not full."""
        return max(1, len(self) // batch_size)

    def train_batches(self, *args: Any, **kwargs: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """As :meth:`drawn_batches`, with the labels y (b,) int64 in the place of the rows."""
        for x, rows, m in self.drawn_batches(*args, **kwargs):
            yield x, self.labels[rows], m

    def drawn_batches(
        self,
        batch_size: int,
        augment: Augment,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        steps: slice = slice(None),
    ) -> Iterator[tuple[torch.Tensor, np.ndarray, int]]:
        """This process's part of each batch of an epoch, in an order that follows from (seed, epoch).

        Args:
            batch_size: m, over all processes; N where the split has fewer images.
            rank, world: this process among all.
            steps: which of the epoch's batches; what is in a batch does not depend on it.
        Yields:
            x (b, 3, S, S) uint8; rows (b,) int64, the images' positions in the split; m.
        """
        m = min(batch_size, len(self))
        order = _random(ORDER, seed, epoch).permutation(len(self))
        part = np.array_split(np.arange(m), world)[rank]
        batches = {step: order[step * m : (step + 1) * m] for step in range(self.steps(batch_size))[steps]}
        images = self._augmented(batches, part, augment, seed, epoch)
        for batch, x in zip(batches.values(), images, strict=True):
            yield x, batch[part], m

    def eval_batches(
        self, batch_size: int, rank: int = 0, world: int = 1, rows: np.ndarray | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This process's part of the split, without augmentation, in the manifest's order; each image is in one part.

        Args:
            batch_size: of this process.
            rank, world: this process among all.
            rows: the images to take, in the place of all.
        Yields:
            x (b, 3, S, S) uint8, not to be written to, y (b,) int64; the last batch is smaller where it is not full.
        """
        part = np.array_split(np.arange(len(self)) if rows is None else rows, world)[rank]
        batches = [part[start : start + batch_size] for start in range(0, len(part), batch_size)]
        for batch, x in zip(batches, self._plain(batches), strict=True):
            yield x, self.labels[batch]

    @functools.cached_property
    def pixels(self) -> ImageFiles | ImageArrays:
        """What the images are read from; opened when the first is read."""
        data = self.find()
        if not isinstance(data, Arrays):
            return ImageFiles(data.store, self.rows)
        for file in data.sources(self.rows.paths):
            if file not in self.manifest.files:
                raise UserError(f"{data}: {file['name']} is not the file that was listed; run `make relist`")
        return ImageArrays(data, torch.from_numpy(np.concatenate([*data.parts(self.rows.paths)])))

    def _augmented(
        self, batches: Batches, part: np.ndarray, augment: Augment, seed: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        """(b, 3, S, S) of this process's part of each batch."""
        load = functools.partial(self.augmented, augment=augment, seed=seed, epoch=epoch)
        return self._decoded([batch[part] for batch in batches.values()], load)

    def _plain(self, batches: list[np.ndarray]) -> Iterator[torch.Tensor]:
        """(b, 3, S, S) of the images in each batch, unchanged."""
        return self._decoded(batches, self._plain_one)

    def _reduced(self, images: torch.Tensor) -> torch.Tensor:
        """(..., C, H, W) images at the definition's resolution."""
        side = self.manifest.resolution
        return images if side is None else resize(images, side, side)

    def _plain_one(self, i: int) -> torch.Tensor:
        return self._centred(self._reduced(self.pixels.read(i)))

    def augmented(self, i: int, augment: Augment, seed: int, epoch: int) -> torch.Tensor:
        """Image i as an epoch has it: (C, S, S) uint8."""
        S, rng, scale = self.image_size, _random(IMAGE, seed, epoch, i), augment.scale
        if augment.crop != "random_resized" or not scale:
            return augment_batch(self._plain_one(i)[None], augment, rng, slice(None), 1)[0]

        def box(height: int, width: int) -> list[int]:
            return crop_boxes(rng, 1, height, width, scale)[0].tolist()

        if self.manifest.resolution is None:
            image = self.pixels.read(i, box)
        else:
            image = boxed(self._reduced(self.pixels.read(i)), box)
        image = resize(image, S, S)
        return image.flip(2) if augment.flip and rng.random() < 0.5 else image

    def _centred(self, image: torch.Tensor) -> torch.Tensor:
        """The centre S x S of an image whose short side is S * 256 / 224: ImageNet's usual evaluation."""
        S, (H, W) = self.image_size, image.shape[1:]
        if max(H, W) > LONGEST * min(H, W):  # resized, a line of a few pixels would fill the memory
            h, w = min(H, W * LONGEST), min(W, H * LONGEST)
            image, H, W = cut(image, (H - h) // 2, (W - w) // 2, h, w), h, w
        short = round(S * 256 / 224)
        H, W = (short, short * W // H) if H <= W else (short * H // W, short)
        return cut(resize(image, H, W), round((H - S) / 2), round((W - S) / 2), S, S)

    def _decoded(self, batches: list[np.ndarray], load: Decode) -> Generator[torch.Tensor, None, None]:
        """(b, 3, S, S) for the images of each batch in order, by child processes, which are some batches ahead.

        They write to memory that they share with this one: not to /dev/shm, which has 64 MB in Docker. It has a slot
        for each image that :func:`isolated.imap` has in flight or done, and for one more chunk that is being read.

        Raises:
            UserError: the first image that cannot be read; names it.
        """
        pixels = self.pixels  # before the processes start, which then share it
        S, lengths = self.image_size, [len(batch) for batch in batches]
        size = min(max(1, self.workers), 1 + sum(lengths) // isolated.CHUNK)
        ahead = 2 * max(lengths, default=0) // isolated.CHUNK
        slots = (2 * size + ahead + 1) * isolated.CHUNK
        shared = np.frombuffer(mmap.mmap(-1, slots * 3 * S * S), np.uint8).reshape(slots, 3, S, S)

        def fill(task: tuple[int, int]) -> None:
            shared[task[0]] = load(task[1])  # a grey image becomes three equal channels

        tasks = zip(itertools.cycle(range(slots)), (i for batch in batches for i in batch.tolist()), strict=False)
        with contextlib.closing(isolated.imap(fill, tasks, size, ahead)) as errors:
            filled = zip(itertools.cycle(shared), errors, strict=False)
            for batch in batches:
                images = torch.empty(len(batch), 3, S, S, dtype=torch.uint8, pin_memory=torch.cuda.is_initialized())
                for image, i, (slot, error) in zip(images.numpy(), batch.tolist(), filled, strict=False):
                    if isinstance(error, (OSError, ValueError)):
                        path = f"{pixels.store}/{self.rows.paths[i]}"
                        raise UserError(f"{path}: {reason(error)}; replace the file, or run `make relist`")
                    if error is not None:
                        raise error
                    image[:] = slot
                yield images


class CachedSource(Source):
    """Images of up to 64 pixels: decoded and resized to S x S once, kept as uint8 in a memory-mapped file.

    Processes share the file's pages. Grey images are kept with one channel.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.images = self._cached()

    def _augmented(
        self, batches: Batches, part: np.ndarray, augment: Augment, seed: int, epoch: int
    ) -> Iterator[torch.Tensor]:
        for step, batch in batches.items():
            images = torch.from_numpy(self.images[batch[part]])
            rng = _random(BATCH, seed, epoch, step)
            yield augment_batch(images, augment, rng, part, len(batch)).expand(-1, 3, -1, -1)

    def _plain(self, batches: list[np.ndarray]) -> Iterator[torch.Tensor]:
        for batch in batches:
            yield torch.from_numpy(self.images[batch]).expand(-1, 3, -1, -1)

    def _cached(self) -> np.ndarray:
        """(N, C, S, S) uint8, from data/cache, where the first process writes it."""
        identity = self.manifest.kind, self.manifest.files, self.manifest.pixels.get(self.split)
        key = (FORMAT, self.rows.fingerprint(), identity, self.image_size, self.manifest.resolution)
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        path = CACHE / f"{name}.npy"
        with locked(CACHE / f"{name}.lock"):
            try:
                return np.load(path, mmap_mode="c")
            except (FileNotFoundError, ValueError, EOFError):  # missing or truncated
                self._write_cache(path)
            return np.load(path, mmap_mode="c")

    def _write_cache(self, path: Path) -> None:
        from tqdm import tqdm

        def resized(images: torch.Tensor) -> torch.Tensor:
            return resize(self._reduced(images), self.image_size, self.image_size)

        if isinstance(self.pixels, ImageArrays):
            images = self.pixels.images
            channels, chunks = images.shape[1], (resized(chunk) for chunk in images.split(CHUNK))
        else:
            batches = np.split(np.arange(len(self)), range(CHUNK, len(self), CHUNK))
            channels, chunks = 3, self._decoded(batches, lambda i: resized(self.pixels.read(i)))
        shape = len(self), channels, self.image_size, self.image_size
        bar = tqdm(total=len(self), desc="decoding", unit="img", leave=False, mininterval=1, delay=1)
        # Written in order, not through the map: a full disk is then an error and not the end of the process.
        # Closed here, after an error too: at its end the process stops the threads that closing the decoders needs.
        with replacing(path) as partial, open(partial, "wb") as file, contextlib.closing(chunks), bar:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for chunk in chunks:
                file.write(chunk.numpy().tobytes())
                bar.update(len(chunk))


def _random(*stream: int) -> np.random.Generator:
    return np.random.default_rng(stream)
