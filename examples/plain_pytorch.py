"""Both axes in a plain PyTorch loop: python examples/plain_pytorch.py IMAGES, with IMAGES/train|val/<wnid>/*."""

import sys

import timm
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2 as T

import hrrl

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPARE = T.Compose([T.ToImage(), T.Resize((28, 28)), T.ToDtype(torch.float32, True), T.Normalize(MEAN, STD)])
EPOCHS, BATCH, TAU, LAM, SLOW = 6, 50, 0.5, 1.0, 50  # the first SLOW steps of q are small ones


def main(images):
    torch.manual_seed(0)
    train, val = (ImageFolder(f"{images}/{part}", PREPARE) for part in ("train", "val"))
    mapping = hrrl.group_wnids(train.classes)  # {wnid: concept}, Table 1's
    names = sorted(set(mapping.values()))
    concepts = torch.tensor([names.index(mapping[wnid]) for wnid in train.classes], device=DEVICE)  # of each class
    q = hrrl.ConceptDistribution(torch.bincount(concepts.cpu()[train.targets]), LAM, c=10.0, s=SLOW)
    model = timm.create_model("resnet18", num_classes=len(train.classes), channels=(16, 32, 64, 128)).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 5])
    for _ in range(EPOCHS):
        model.train()
        for x, y in DataLoader(train, BATCH, shuffle=True):
            x, y = x.to(DEVICE), y.to(DEVICE)
            x = hrrl.perturb(model, x, y, TAU, mean=MEAN, std=STD)  # the example axis; TAU is in pixel units
            losses = F.cross_entropy(model(x), y, reduction="none")
            optimizer.zero_grad()
            (q.weights(concepts[y]).to(losses) * losses).mean().backward()  # the concept axis
            optimizer.step()
            q.update(losses.detach(), concepts[y])
        scheduler.step()
    model.eval().requires_grad_(False)
    hits = [model(x.to(DEVICE)).argmax(1).cpu() == y for x, y in DataLoader(val, 256)]
    print(f"accuracy {100 * torch.cat(hits).double().mean():.2f}, q {dict(zip(names, q.q.tolist(), strict=True))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
