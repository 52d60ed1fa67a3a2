"""Gathers the results of every stage into metrics.json, tables, plots, figures and report.html: reports/<name>/."""

import io
import json
from pathlib import Path

from common import concepts_folder, measured, model_folder, run, whole, write_json

import pandas as pd
from ruamel.yaml import YAML

from hrrl import reporting


def main(params):
    results, folder = gather(params), Path("reports", params.name)
    write_json(folder / "metrics.json", reporting.metrics(results))
    with whole(folder / "tables") as tables:
        reporting.write_tables(reporting.tables(results), tables)
    with whole(folder / "plots") as plots:
        reporting.write_plot_data(reporting.plot_data(results), plots)
    with whole(folder / "figures") as figures:
        reporting.figures(results, figures)
    with whole(folder / "report.html") as page:
        page.write_text(reporting.page(results, folder / "figures", as_yaml(params)))


def gather(params) -> reporting.Results:
    """Reads just the files of the seeds, variants and targets that params name; others may be left from before."""
    trained = [(variant, seed) for variant in params.runs.pretrain for seed in params.seeds]
    robustness = {run: json.loads(measured(params, "robustness", *run, ".json").read_text()) for run in trained}
    steps = [row | tag(run) for run in trained for row in robustness[run]["steps"]]
    per_concept = [
        {"concept": concept, "accuracy": accuracy} | tag(run)
        for run in trained
        for concept, accuracy in robustness[run]["concepts"].items()
    ]
    theory = {name: table(params, "theory", f"{name}.csv") for name in ("curves", "maxima", "suggestions")}
    return reporting.Results(
        name=params.name,
        headline=params.headline,
        benchmark=params.benchmark,
        targets=params.targets,
        variants={name: params.variants[name].spec() for name in params.runs.pretrain},
        compared=params.runs.svm,
        target_kinds={target: official_kind(params.datasets[target]) for target in params.targets},
        svm=svm(params),
        history=stack(trained, lambda *run: model_folder(params, *run) / "history.csv"),
        cost=stack(trained, lambda *run: model_folder(params, *run) / "speed.csv")
        .groupby(["variant", "seed"], sort=False, as_index=False)
        .images_per_second.max(),  # the epoch that other work on the machine disturbed least
        finetune=finetune(params),
        robustness=pd.DataFrame(steps),
        concept_accuracy=pd.DataFrame(per_concept),
        table1=pd.read_csv(concepts_folder(params) / "table1.csv"),
        concepts=pd.read_csv(concepts_folder(params) / "concepts.csv"),
        **theory,
    )


def official_kind(dataset) -> str:
    """The kind of a dataset that is used as published; only such a one can stand beside the paper's numbers."""
    changed = dataset.classes or dataset.resolution or "[" in dataset.train + (dataset.test or "")
    return "" if changed else dataset.kind


def svm(params) -> pd.DataFrame:
    rows = []
    for cell in [(variant, seed) for variant in params.runs.svm for seed in params.seeds]:
        scores = json.loads(measured(params, "svm", *cell, ".json").read_text())
        rows += [{"target": target} | tag(cell) | scores[target] for target in params.targets]
    frame = pd.DataFrame(rows).assign(converged=[all(row["converged"].values()) for row in rows])
    return frame.drop(columns="validation").rename(columns={"validation_accuracy": "validation"})


def finetune(params) -> pd.DataFrame:
    runs = [(variant, seed) for variant in params.runs.finetune for seed in params.seeds]
    frame = stack(runs, lambda *run: measured(params, "finetune", *run, ".csv"))
    return frame[frame.target.isin(params.targets)]


def stack(runs, path) -> pd.DataFrame:
    return pd.concat([pd.read_csv(path(*run)).assign(**tag(run)) for run in runs], ignore_index=True)


def tag(run) -> dict:
    variant, seed = run
    return {"variant": variant, "seed": seed}


def table(params, *parts) -> pd.DataFrame:
    return pd.read_csv(Path("data", params.name, *parts))


def as_yaml(params) -> str:
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.dump(params.as_dict(), text)
    return text.getvalue()


if __name__ == "__main__":
    run(main)
