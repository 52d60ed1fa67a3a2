"""Every number that a report is made of, one per run: what claims are decided by, and the content of runs.csv."""

import re
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from hrrl.report.results import Results

COLUMNS = ["measure", "target", "variant", "seed", "value"]
STEP = re.compile(r"accuracy_step_([0-9.e+-]+)")  # the measure of a step size
POINT = "search:"  # before the name of a point of the search, in the place of a variant's
LEFT = 0.2  # a step is above the floor where the baseline keeps more than this share of its accuracy above chance,
AT_LEAST = 0.05  # and is this share of the way from chance to 100%, which noise alone does not reach


def long_form(results: "Results") -> pd.DataFrame:
    """[measure, target, variant, seed, value] in full precision; target is empty where a measure has none.

    ``svm``, ``svm_validation``: accuracy (%) on the test part, and cross-validated on the training part, the mean over
    draws. ``finetune``: test error (%) after the last evaluation. On the benchmark's validation images after the last
    epoch: ``benchmark_accuracy`` (%), ``benchmark_loss``, ``accuracy_<concept>`` (%), ``loss_<concept>``,
    ``q_<concept>`` (where q moves), ``accuracy_step_<size>`` (%) after a step along the gradient; and what
    :func:`derived` makes of these. Points of the search have tuning seeds, and names such as "search:tau0.1".
    """
    last_epoch, names = final(results.history), results.concept_names
    frames = [
        _melted(results.scores, {"accuracy": "svm", "validation": "svm_validation"}),
        _melted(final(results.finetune), {"test_error": "finetune"}),
        _melted(last_epoch, {"val_accuracy": "benchmark_accuracy", "val_loss": "benchmark_loss"}),
        _melted(last_epoch, {f"loss_{name}": f"loss_{name}" for name in names}),
        _melted(last_epoch[last_epoch.variant.isin(results.adaptive())], {f"q_{name}": f"q_{name}" for name in names}),
    ]
    for concepts, steps in (
        (results.concept_accuracy, results.robustness),
        (_points(results.search_concepts), _points(results.search_steps)),
    ):
        frames.append(concepts.assign(measure="accuracy_" + concepts.concept.astype(str), value=concepts.accuracy))
        frames.append(steps.assign(measure=steps.step_size.map("accuracy_step_{:g}".format), value=steps.accuracy))
    table = pd.concat([frame for frame in frames if len(frame)] or frames).reindex(columns=COLUMNS)
    return derived(table.fillna({"target": ""}).dropna(subset=["value"]), results)


def derived(values: pd.DataFrame, results: "Results") -> pd.DataFrame:
    """The rows of :func:`long_form`, with the measures that follow from others put at their end.

    ``worst_concept``, ``best_concept``, ``mean_concept``, ``concept_gap`` (best minus worst): of a run's accuracies on
    its concepts. ``augmented``: the mean accuracy over the steps that :func:`steps_above_floor` gives.
    """
    run = ["target", "variant", "seed"]
    concepts = [m for m in values.measure.unique() if m.startswith("accuracy_") and not STEP.fullmatch(m)]
    groups = values[values.measure.isin(concepts)].groupby(run, sort=False).value
    steps = [f"accuracy_step_{size:g}" for size in steps_above_floor(values, results)]
    computed = {
        "worst_concept": groups.min(),
        "best_concept": groups.max(),
        "mean_concept": groups.mean(),
        "concept_gap": groups.max() - groups.min(),
        "augmented": values[values.measure.isin(steps)].groupby(run, sort=False).value.mean(),
    }
    frames = [series.reset_index().assign(measure=name) for name, series in computed.items() if len(series)]
    kept = values[~values.measure.isin(computed)]
    return pd.concat([kept, *frames], ignore_index=True)[COLUMNS]


def steps_above_floor(values: pd.DataFrame, results: "Results") -> list[float]:
    """The step sizes above 0 at which the baseline keeps more than a fifth of what its accuracy is above chance.

    And more than a twentieth of the way from chance to 100%, so that a baseline at chance has no such step. Judged by
    the baseline's mean over the seeds alone: beyond, there is little left in which networks could differ. Chance is one
    of the benchmark's classes.
    """
    means = values[values.variant == results.baseline].groupby("measure").value.mean()
    sizes = sorted(float(match[1]) for name in means.index if (match := STEP.fullmatch(name)))
    chance = 100 / max(1, results.classes)
    clean = means.get("accuracy_step_0", means.get("benchmark_accuracy", 100.0))
    floor = chance + max(LEFT * (clean - chance), AT_LEAST * (100 - chance))
    return [size for size in sizes if size > 0 and means[f"accuracy_step_{size:g}"] > floor]


def final(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last epoch, or last evaluated step."""
    run = [column for column in ("target", "variant", "seed") if column in frame]
    time = "epoch" if "epoch" in frame else "step"
    return frame.sort_values(time, kind="stable").groupby(run, sort=False).tail(1).sort_index()


def _melted(frame: pd.DataFrame, measures: dict[str, str]) -> pd.DataFrame:
    """A row for each number of the columns that there are, under the names of their measures."""
    frame = frame.rename(columns=measures)
    run = [column for column in ("target", "variant", "seed") if column in frame]
    return frame.melt(run, [name for name in measures.values() if name in frame], "measure", "value")


def _points(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the search, with the name of their point as variant."""
    return frame.assign(variant=[POINT + point_name(row.tau, row.lam) for row in frame.itertuples()])


def point_name(tau: float, lam: float) -> str:
    """As ``search.points`` has it; NaN where the axis is off."""
    parts = [f"{name}{value:g}" for name, value in (("tau", tau), ("lam", lam)) if value == value]
    return "_".join(parts) or "erm"
