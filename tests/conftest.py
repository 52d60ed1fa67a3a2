"""What several tests share: real images (scikit-learn's digits), a small network, the settings of a short run."""

from types import SimpleNamespace

import pytest
import torch

from hrrl import methods, models, training
from hrrl.data import open_split, prepare
from hrrl.params import Dataset

SCHEDULE = SimpleNamespace(
    epochs=2,
    batch_size=30,
    lr=0.05,
    milestones=[1],
    momentum=0.9,
    weight_decay=1e-4,
    augment=SimpleNamespace(crop="padded", padding=1, scale=(0.5, 1.0), flip=False),
)
COMPUTE = SimpleNamespace(
    device="cpu", precision="float32", channels_last=True, compile=False, sync_batchnorm=False, threads=1, workers=0
)


def digits_task(folder) -> training.Task:
    """Ten classes of 8 x 8 digits in three concepts of 6, 3 and 1 classes; 100 training images."""
    definition = Dataset(kind="digits", train="train[:10]", test="test[:7]")
    if not folder.exists():
        prepare(definition, "digits").write(folder)
    train, test = (open_split(folder, definition, split, 16) for split in ("train", "test"))
    return training.Task(train, test, torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 2]), ["many", "some", "few"])


def network(seed: int = 0):
    torch.manual_seed(seed)
    return models.build("timm/resnet18", 10, {"channels": [8, 8, 16, 16]})


def method(task, example=None, concept=None) -> training.Method:
    return training.Method(methods.example_axis(example), methods.concept_axis(concept, task.counts))


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    return digits_task(tmp_path_factory.mktemp("digits") / "manifest")
