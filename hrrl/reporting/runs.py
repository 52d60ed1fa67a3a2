"""Every number that a report is made of, one per run: what claims are decided by, and the content of runs.csv."""

from pathlib import Path

import pandas as pd

from hrrl.reporting.results import Results, final

COLUMNS = ["measure", "target", "variant", "seed", "value"]


def runs(results: Results) -> pd.DataFrame:
    """[measure, target, variant, seed, value] in full precision; target is empty where a measure has none.

    ``svm``, ``svm_validation``: accuracy (%) on the test part, and cross-validated on the training part, the mean over
    draws. ``finetune``: test error (%) after the last evaluation. On the benchmark's validation images after the last
    epoch: ``benchmark_accuracy`` (%), ``benchmark_loss``, ``accuracy_<concept>`` (%), ``loss_<concept>``,
    ``concept_gap`` (largest minus smallest accuracy of a concept), ``accuracy_step_<size>`` (%) after a step along the
    gradient, ``augmented`` (mean of those with a step above 0, minus that without).
    """
    last = final(results.history)
    measures = {
        "svm": _rows(results.scores, "accuracy"),
        "svm_validation": _rows(results.scores, "validation"),
        "finetune": _rows(final(results.finetune), "test_error"),
        "benchmark_accuracy": _rows(last, "val_accuracy"),
        "benchmark_loss": _rows(last, "val_loss"),
        **_by(results.concept_accuracy, "concept", "accuracy_{}"),
        **{f"loss_{concept}": _rows(last, f"loss_{concept}") for concept in results.concept_names},
        "concept_gap": _gaps(results),
        **_by(results.robustness, "step_size", "accuracy_step_{:g}"),
        "augmented": _kept(results),
    }
    frames = [frame.assign(measure=name) for name, frame in measures.items() if len(frame)]
    return pd.concat(frames, ignore_index=True)[COLUMNS] if frames else pd.DataFrame(columns=COLUMNS)


def write_runs(results: Results, folder: str | Path) -> None:
    """<folder>/runs.csv; each value reads back as it was."""
    runs(results).to_csv(Path(folder) / "runs.csv", index=False, lineterminator="\n")


def _rows(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """The runs that have a value of this name."""
    if value not in frame:
        return pd.DataFrame(columns=COLUMNS)
    target = frame.target if "target" in frame else ""
    return frame[["variant", "seed"]].assign(target=target, value=frame[value]).dropna(subset=["value"])


def _by(frame: pd.DataFrame, key: str, form: str) -> dict[str, pd.DataFrame]:
    return {form.format(name): _rows(rows, "accuracy") for name, rows in frame.groupby(key, sort=False)}


def _gaps(results: Results) -> pd.DataFrame:
    accuracy = results.concept_accuracy.groupby(["variant", "seed"], sort=False).accuracy
    return _rows((accuracy.max() - accuracy.min()).rename("gap").reset_index(), "gap")


def _kept(results: Results) -> pd.DataFrame:
    """How accuracy changes from step size 0 to the mean of the others; runs with no other have none."""
    frame = results.robustness
    by = ["variant", "seed"]
    moved = frame[frame.step_size > 0].groupby(by, sort=False).accuracy.mean()
    still = frame[frame.step_size == 0].set_index(by).accuracy
    return _rows((moved - still).rename("kept").reset_index(), "kept")
