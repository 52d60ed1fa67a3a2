"""HRRL with timm's models, optimisers, schedulers; on a GPU in bfloat16: python examples/timm_vit.py IMAGES MODEL.pt"""

import sys

import timm
import torch
import torch.nn.functional as F
from timm.data import ImageDataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

import hrrl

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPOCHS, BATCH, TAU = 3, 50, 0.1


def main(images, file):
    torch.manual_seed(0)
    data = ImageDataset(f"{images}/train")
    classes = list(data.reader.class_to_idx)
    mapping = hrrl.group_wnids(classes)
    names = sorted(set(mapping.values()))
    concepts = torch.tensor([names.index(mapping[wnid]) for wnid in classes], device=DEVICE)
    labels = torch.tensor([label for _, label in data.reader.samples])
    q = hrrl.ConceptDistribution(torch.bincount(concepts.cpu()[labels]), lam=1.0)

    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(classes), img_size=32, patch_size=8, depth=2)
    model = model.to(DEVICE)
    config = resolve_data_config({"input_size": (3, 32, 32)}, model=model)
    prepare = {key: config[key] for key in ("input_size", "mean", "std", "interpolation")}
    loader = create_loader(data, batch_size=BATCH, is_training=True, use_prefetcher=False, num_workers=0, **prepare)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS, warmup_epochs=1)
    model.train()
    for epoch in range(EPOCHS):
        for x, y in loader:
            x, y = x.to(DEVICE), y.to(DEVICE)
            with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
                x = hrrl.perturb(model, x, y, TAU, mean=config["mean"], std=config["std"])
                losses = F.cross_entropy(model(x), y, reduction="none")
            optimizer.zero_grad()
            (q.weights(concepts[y]).to(losses) * losses).mean().backward()
            optimizer.step()
            q.update(losses.detach(), concepts[y])
        scheduler.step(epoch + 1)
        print(f"epoch {epoch + 1}: loss {losses.mean():.3f}, q {[round(share, 3) for share in q.q.tolist()]}")
    torch.save(model.state_dict(), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
