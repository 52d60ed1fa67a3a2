"""Model cards: the README.md for a model's weights, as model hubs show it."""

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = Path(__file__).with_suffix(".md.j2")


def model_card(description: dict, last_epoch: dict[str, str], data: dict, source: str, licence: str) -> str:
    """The card of a pretrained model, in Markdown below a header in YAML that hubs read.

    Args:
        description: the content of model.json.
        last_epoch: the last row of history.csv, by column.
        data: the content of the benchmark's dataset.json.
        source, licence: of the images: who published them and where, and on which terms.
    """
    [(variant, spec)] = description["variant"].items()
    title = f"{description['backbone'].removeprefix('timm/')}, {variant} on {description['benchmark']}"
    accuracies = {key.removeprefix("accuracy_"): float(last_epoch[key]) for key in last_epoch if "accuracy_" in key}
    accuracy = float(last_epoch["val_accuracy"])
    text = description | {
        "title": title,
        "variant": variant,
        "settings": json.dumps({variant: spec, "pretrain": description["pretrain"]}, indent=1),
        "kind": data["kind"],
        "images": data["images"],
        "source": source,
        "licence": licence,
        "accuracy": {"all": accuracy} | accuracies,
        "constructor": _constructor(description),
    }
    header = _header(title, description["benchmark"], data["kind"], accuracy)
    return f"{ModelCard.from_template(header, str(TEMPLATE), **text)}\n"


def _header(title: str, benchmark: str, kind: str, accuracy: float) -> ModelCardData:
    measured = EvalResult(
        task_type="image-classification",
        dataset_type=kind,
        dataset_name=benchmark,
        metric_type="accuracy",
        metric_value=round(accuracy, 2),
    )
    return ModelCardData(
        library_name="pytorch",
        pipeline_tag="image-classification",
        tags=["image-feature-extraction", "representation-learning", "distributionally-robust-optimization"],
        model_name=title,
        eval_results=[measured],
    )


def _constructor(description: dict) -> dict[str, str]:
    """How the backbone's own library builds it."""
    name, args = description["backbone"], {"num_classes": len(description["classes"])} | description["backbone_args"]
    arguments = ", ".join(f"{key}={value!r}" for key, value in args.items())
    if name.startswith("timm/"):
        return {"imports": "import timm", "call": f'timm.create_model("{name.removeprefix("timm/")}", {arguments})'}
    return {"imports": "from torchvision.models import get_model", "call": f'get_model("{name}", {arguments})'}
