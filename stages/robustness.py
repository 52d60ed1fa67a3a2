"""Accuracy of one pretrained model on augmented validation images (Fig. 4) and per concept on clean ones (Fig. 5)."""

from stages.common import run
from stages.paths import measured, model_folder, write_json
from stages.tasks import benchmark_task

from hrrl import models, runtime
from hrrl.robustness import augmented_accuracy


def main(params, variant, seed):
    model, description = models.load(model_folder(variant, seed))
    with runtime.start(params.compute) as here:
        found = measure(params, here, model, benchmark_task(params, description["image_size"]))
    write_json(measured("robustness", variant, seed, ".json"), found)


def measure(params, here, model, task) -> dict:
    """Accuracies in percent: of all images for each step size, and of each concept on clean images."""
    rows = augmented_accuracy(model, task, here, [0.0, *(step for step in params.robustness.steps if step)])
    concepts = {name: rows[0][key] for name in task.names if (key := f"accuracy_{name}") in rows[0]}
    steps = [{"step_size": row["step_size"], "accuracy": row["val_accuracy"]} for row in rows]
    return {"steps": steps, "concepts": concepts}


if __name__ == "__main__":
    run(main, "variant", "seed")
