"""Accuracy of one pretrained model on augmented validation images (Fig. 4) and per concept on clean ones (Fig. 5)."""

from stages.common import run
from stages.inputs import benchmark_task
from stages.paths import measured, model_folder, write_json

from hrrl import models, runtime
from hrrl.robustness import augmented_accuracy


def main(params, variant, seed):
    model, description = models.load(model_folder(params, variant, seed))
    with runtime.start(params.compute) as here:
        task = benchmark_task(params, description["image_size"])
        rows = augmented_accuracy(model, task, here, [0.0, *(step for step in params.robustness.steps if step)])
    concepts = {name: rows[0][key] for name in task.names if (key := f"accuracy_{name}") in rows[0]}
    accuracy = [{"step_size": row["step_size"], "accuracy": row["val_accuracy"]} for row in rows]
    write_json(measured(params, "robustness", variant, seed, ".json"), {"steps": accuracy, "concepts": concepts})


if __name__ == "__main__":
    run(main, "variant", "seed")
