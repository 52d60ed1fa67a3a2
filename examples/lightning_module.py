"""HRRL as a LightningModule, which any of its trainers runs: python examples/lightning_module.py IMAGES"""

import sys

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2 as T

import hrrl

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPARE = T.Compose([T.ToImage(), T.Resize((32, 32)), T.ToDtype(torch.float32, True), T.Normalize(MEAN, STD)])


class Hrrl(pl.LightningModule):
    """Algorithm 1 for any classifier; ``concepts`` (C,) is the concept of each class, ``counts`` (K,) their images."""

    def __init__(self, model, concepts, counts, tau=0.1, lam=1.0):
        super().__init__()
        self.model, self.tau = model, tau
        self.register_buffer("concepts", concepts)
        self.q = hrrl.ConceptDistribution(counts, lam)

    def training_step(self, batch, _):
        x, y = batch
        x = hrrl.perturb(self.model, x, y, self.tau, mean=MEAN, std=STD)
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        return {"loss": (self.q.weights(self.concepts[y]).to(losses) * losses).mean(), "losses": losses.detach()}

    def on_train_batch_end(self, outputs, batch, _):
        self.q.update(outputs["losses"], self.concepts[batch[1]])
        self.log("q_max", self.q.q.max().float(), prog_bar=True)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["q"] = self.q.state_dict()

    def on_load_checkpoint(self, checkpoint):
        self.q.load_state_dict(checkpoint["q"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)


def main(images):
    pl.seed_everything(0)
    data = ImageFolder(f"{images}/train", PREPARE)
    mapping = hrrl.group_wnids(data.classes)
    names = sorted(set(mapping.values()))
    concepts = torch.tensor([names.index(mapping[wnid]) for wnid in data.classes])
    module = Hrrl(resnet18(num_classes=len(data.classes)), concepts, torch.bincount(concepts[data.targets]))
    trainer = pl.Trainer(max_epochs=1, limit_train_batches=8, logger=False, enable_progress_bar=False)
    trainer.fit(module, DataLoader(data, 32, shuffle=True))
    print(f"{module.q.t} steps, q {dict(zip(names, module.q.q.tolist(), strict=True))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
