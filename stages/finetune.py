"""Fine-tunes one pretrained model on every target with ERM, and keeps the test error of each epoch (Fig. 3)."""

from stages.checkpoints import open_checkpoint
from stages.common import run
from stages.inputs import open_data
from stages.paths import dataset_folder, key, measured, model_folder

import pandas as pd

from hrrl import launch
from hrrl.files import replacing


def main(params, variant, seed):
    launch.join(params.launch)
    from hrrl import runtime

    checkpoints = {target: checkpoint(params, variant, seed, target) for target in params.targets}
    with runtime.start(params.compute) as here:
        curves = [curve(params, here, variant, int(seed), *item) for item in checkpoints.items()]
        if here.writes:
            with replacing(measured(params, "finetune", variant, seed, ".csv")) as file:
                pd.concat(curves).to_csv(file, index=False)
            for used in checkpoints.values():
                used.clear()


def checkpoint(params, variant, seed, target):
    settings = {"finetune": params.finetune.as_dict(), "seed": seed}
    model = model_folder(params, variant, seed)
    data = [dataset_folder(params, target), model / "model.safetensors", model / "model.json"]
    return open_checkpoint(params, f"finetune-{key(variant, seed)}-{target}", settings, data)


def curve(params, here, variant, seed, target, checkpoint) -> pd.DataFrame:
    """Columns target, epoch, train_loss, test_error (percent)."""
    import torch

    from hrrl import models, training
    from hrrl.evaluation import Task

    model, description = models.load(model_folder(params, variant, seed))
    train, test = (open_data(params, split, description["image_size"], target) for split in ("train", "test"))
    task = Task(train, test, torch.zeros(len(train.classes), dtype=torch.long), ["all"])
    torch.manual_seed(seed)
    models.replace_head(model, len(train.classes))
    title = f"fine-tune {variant} seed {seed} on {target}"
    run = training.Training(model, task, training.erm(task), params.finetune, here, seed, title)
    run.fit(checkpoint)
    frame = pd.DataFrame(run.history)
    error = 100 - frame.val_accuracy
    return pd.DataFrame({"target": target, "epoch": frame.epoch, "train_loss": frame.train_loss, "test_error": error})


if __name__ == "__main__":
    run(main, "variant", "seed")
