"""Fine-tunes one pretrained model on every target with ERM, and keeps the test error along the way (Fig. 3)."""

from stages.checkpoints import open_checkpoint
from stages.common import run, typed
from stages.inputs import open_data, start
from stages.paths import course, dataset_folder, key, measured, model_folder

import numpy as np

from hrrl.common.files import replacing
from hrrl.common.rows import write_rows


def main(params, variant, seed):
    with start(params, several=True) as runtime:
        checkpoints = {target: checkpoint(params, variant, seed, target) for target in params.targets}
        curves = {t: curve(params, runtime, variant, int(seed), t, saved) for t, saved in checkpoints.items()}
        if runtime.is_writer:
            with replacing(measured("finetune", variant, seed, ".csv")) as file:
                write_rows(file, [row for rows, _ in curves.values() for row in rows])
            with replacing(measured("finetune", variant, seed, ".npz")) as file, open(file, "wb") as content:
                np.savez(content, **{target: hits for target, (_, hits) in curves.items()})
            for saved in checkpoints.values():
                saved.clear()


def checkpoint(params, variant, seed, target):
    settings = {"finetune": params.finetune.as_dict(), "seed": seed}
    model = model_folder(variant, seed)
    data = [dataset_folder(target), model / "model.safetensors", model / "model.json"]
    return open_checkpoint(params, f"finetune-{key(variant, seed)}-{target}", settings, data)


def curve(params, runtime, variant, seed, target, checkpoint) -> tuple:
    """target, step, train_loss (since the row before) and test_error (percent) of each evaluation.

    And whether each test image is classified right after the last; None in a process that writes nothing.
    """
    import torch

    from hrrl.train import models, training
    from hrrl.train.evaluation import GroupedData
    from hrrl.train.fixed_step_batches import FixedStepSchedule, in_fixed_steps
    from hrrl.train.progress import run_status
    from hrrl.transfer.robustness import correct

    model, description = models.load(model_folder(variant, seed))
    train, test = (open_data(params, split, description["image_size"], target) for split in ("train", "test"))
    schedule, train = in_fixed_steps(typed(FixedStepSchedule, params.finetune), train)
    task = GroupedData.by_class(train, test, torch.zeros(len(train.classes), dtype=torch.long), ["all"])
    heads = models.heads(description["backbone"], description["backbone_args"])
    torch.manual_seed(seed)
    models.replace_heads(model, heads, len(train.classes))
    title = f"fine-tune {variant} seed {seed} on {target}"
    part = (params.targets.index(target), len(params.targets))
    status = run_status(runtime, title, course(params, "finetune", variant, seed), target, part)
    run = training.Training(model, task, training.erm(task), schedule, runtime, seed, title, status)
    run.fit(checkpoint)
    columns = ("step", "train_loss")
    rows = [
        {"target": target} | {key: row[key] for key in columns} | {"test_error": 100 - row["val_accuracy"]}
        for row in run.history
    ]
    return rows, correct(run.result, test, runtime, schedule.batch_size) if runtime.is_writer else None


if __name__ == "__main__":
    run(main, "variant", "seed")
