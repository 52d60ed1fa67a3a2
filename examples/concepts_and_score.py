"""Concepts for one's own classes, and a linear SVM's score of any timm model on any ImageFolder.

    python examples/concepts_and_score.py IMAGES resnet18
    python examples/concepts_and_score.py IMAGES vit_tiny_patch16_224 MODEL.pt '{"img_size": 32, "patch_size": 8}'

IMAGES/train|val/<class>/*, with classes that are English nouns. Without MODEL.pt, timm's pretrained weights are taken.
"""

import json
import sys

import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import hrrl

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main(images, name, weights=None, settings="{}"):
    train = ImageFolder(f"{images}/train")
    synsets = {noun: f"{noun}.n.01" for noun in train.classes}  # the first sense of each; choose yours
    clothing = [{"name": "garment", "synset": "garment.n.01"}, {"name": "footwear", "synset": "footwear.n.02"}]
    for title, concepts in {"Table 1": "table1", "one's own": clothing, "automatic": {"auto": 3}}.items():
        print(f"{title}: {hrrl.group_classes(train.classes, synsets=synsets, concepts=concepts)}")

    settings = json.loads(settings)
    model = timm.create_model(name, pretrained=weights is None, num_classes=0, **settings).to(DEVICE)
    if weights:
        model.load_state_dict(torch.load(weights, weights_only=True), strict=False)  # all but the head
    prepare = create_transform(**resolve_data_config(settings, model=model))
    parts = [ImageFolder(f"{images}/{part}", prepare) for part in ("train", "val")]
    features = [hrrl.extract_features(model, DataLoader(part, 64)) for part in parts]
    score = hrrl.svm_score(*features[0], *features[1])
    print(f"accuracy {score.accuracy:.2f}, C = {score.choice.C:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
