"""Gathers the results of all stages into reports/: claims, metrics, tables, plots, figures, a page."""

import io

from stages.common import plain, run, typed
from stages.paths import CONCEPTS, DATA, REPORTS, measured, model_folder, read_json, resolved, search_cells, selected
from stages.variants import training

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from hrrl import report
from hrrl.common.names import packed_name
from hrrl.train import runtime


def main(params):
    report.write(gather(params), REPORTS, settings(params))


def gather(params) -> report.Results:
    """Reads just the files of the seeds, variants and targets that params name; others may be left from before."""
    scored, trained, tuned = (cells(params, step) for step in ("svm", "pretrain", "finetune"))
    finetune = stack(tuned, lambda *run: measured("finetune", *run, ".csv"))
    return report.Results(
        name=params.name,
        headline=params.headline,
        benchmark=params.benchmark,
        targets=params.targets,
        variants={name: read_json(selected(name)) for name in params.runs.pretrain},
        compared=params.runs.svm,
        target_kinds={target: official_kind(params, target) for target in params.targets},
        shifts=plain(params.shifts),
        claims=plain(params.claims),
        svm=svm(params, scored),
        correct=correct(params, {run: measured("svm", *run) / "hits.npz" for run in scored}),
        history=stack(trained, lambda *run: model_folder(*run) / "history.csv"),
        finetune=finetune[finetune.target.isin(params.targets)],
        finetune_correct=correct(params, {run: measured("finetune", *run, ".npz") for run in tuned}),
        **robustness(trained),
        table1=pd.read_csv(CONCEPTS / "table1.csv"),
        concepts=named("concepts.csv"),
        target_concepts=named("targets.csv"),
        members=pd.read_csv(CONCEPTS / "members.csv", dtype=str, keep_default_na=False),
        gallery=DATA / "gallery",
        **{name: pd.read_csv(DATA / f"theory/{name}.csv") for name in ("curves", "maxima", "suggestions", "regret")},
        **search(params),
    )


def named(file) -> pd.DataFrame:
    """A table of concepts, which may be named 0, 1e3 or True and are text all the same."""
    return pd.read_csv(CONCEPTS / file, converters={"concept": str})


def cells(params, step) -> list[tuple]:
    return [(variant, seed) for variant in params.runs[step] for seed in params.seeds]


def official_kind(params, target) -> str:
    """The kind of a dataset that is used as published; only such a one can stand beside the paper's numbers."""
    dataset = read_json(resolved("datasets", target))
    changed = dataset["classes"] or dataset["resolution"] or "[" in dataset["train"] + (dataset["test"] or "")
    return "" if changed else dataset["kind"]


def svm(params, scored) -> pd.DataFrame:
    rows = []
    for cell in scored:
        scores = read_json(measured("svm", *cell) / "scores.json")
        for target in params.targets:
            for number, draw in enumerate(scores[target]["draws"]):
                row = {"target": target, "draw": number, "validation": draw["validation_accuracy"]} | tag(cell)
                row |= {name: draw[name] for name in ("accuracy", "C", "edge")}
                rows.append(row | {"converged": all(draw["converged"].values())})
    return pd.DataFrame(rows)


def correct(params, files) -> dict:
    """(target, variant, seed) -> which of its test images are right."""
    hits = {}
    for cell, file in files.items():
        with np.load(file) as arrays:
            hits |= {(target, *cell): arrays[target] for target in params.targets}
    return hits


def robustness(runs) -> dict:
    """What robustness measured; the validation images are the same in all runs, and so is the concept of each."""
    rows = {"robustness": [], "concept_accuracy": [], "variances": [], "smoothness": []}
    moved, concepts, names = {}, None, named("concepts.csv").concept
    for cell in runs:
        accuracies, run_tag = read_json(measured("robustness", *cell, ".json")), tag(cell)
        rows["robustness"] += [row | run_tag for row in accuracies["steps"]]
        rows["concept_accuracy"] += [{"concept": c, "accuracy": a} | run_tag for c, a in accuracies["concepts"].items()]
        with np.load(measured("smoothness", *cell, ".npz")) as arrays:
            images, factors = zip(arrays["gradient"], arrays["L"], strict=True), arrays["variance_factors"]
            rows["smoothness"] += [{"gradient": norm, "L": L} | run_tag for norm, L in images]
            concept_factors = zip(names, factors, strict=True)  # NaN where losses do not vary
            rows["variances"] += [{"concept": name, "factor": f} | run_tag for name, f in concept_factors if f == f]
        with np.load(measured("robustness", *cell, ".npz")) as arrays:
            concepts, steps = arrays["concepts"], [name for name in arrays.files if name != "concepts"]
            moved[cell] = {float(s): np.unpackbits(arrays[s], count=len(concepts)).astype(bool) for s in steps}
    frames = {name: pd.DataFrame(records) for name, records in rows.items() if records}
    return frames | {"moved_correct": moved, "validation_concepts": concepts}


def search(params) -> dict[str, pd.DataFrame]:
    """What the search measured: a row per cell, and its rows of Figs. 4 and 5."""
    cells = [read_json(measured("search", *cell, ".json")) for cell in search_cells(params)]
    frames = {
        "search": [point(c) | {f"accuracy_{t}": c["targets"][t] for t in params.targets} for c in cells],
        "search_steps": [point(c) | row for c in cells for row in c["steps"]],
        "search_concepts": [point(c) | {"concept": k, "accuracy": a} for c in cells for k, a in c["concepts"].items()],
    }
    return {name: pd.DataFrame(rows).astype({"tau": float, "lam": float}) for name, rows in frames.items()}


def point(cell: dict) -> dict:
    return {name: cell[name] for name in ("tau", "lam", "seed", "benchmark")}


def stack(runs, path) -> pd.DataFrame:
    return pd.concat([pd.read_csv(path(*run)).assign(**tag(run)) for run in runs], ignore_index=True)


def tag(run) -> dict:
    variant, seed = run
    return {"variant": variant, "seed": seed}


def settings(params) -> str:
    """The params that decide what the report shows, as YAML; the datasets without where they lie on this machine."""
    sections = ("name", "seeds", "benchmark", "targets", "shifts", "claims", "headline", "concepts", "runs")
    shown = {key: plain(params[key]) for key in sections}
    names = dict.fromkeys([params.benchmark, *params.targets])
    shown["datasets"] = {name: described(name) for name in names}
    pretrain = training(params)[0].as_dict()
    shown["variants"] = {
        name: read_json(selected(name)) | own_training(params, name, pretrain) for name in params.runs.pretrain
    }
    for section in ("pretrain", "compute", "launch", "search", "svm", "finetune", "robustness", "theory"):
        shown[section] = plain(params[section])
    shown["pretrain"] = pretrain
    shown["computed"] = runtime.computed(typed(runtime.Compute, params.compute))
    text, yaml = io.StringIO(), YAML()
    yaml.default_flow_style, yaml.width = None, 110
    yaml.dump(shown, text)
    return text.getvalue()


def own_training(params, variant, pretrain) -> dict:
    """What a variant has of its own of the section ``pretrain``."""
    section = training(params, variant)[0].as_dict()
    return {key: section.get(key) for key in ("epochs", "init") if section.get(key) != pretrain.get(key)}


def described(dataset) -> dict:
    definition = read_json(resolved("datasets", dataset))
    packed = {"packed": packed_name(definition["root"])}  # its images are smaller than the published ones
    return {key: value for key, value in (definition | packed).items() if value and key not in ("root", "code")}


if __name__ == "__main__":
    run(main)
