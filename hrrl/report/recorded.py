"""The numbers of a finished run, from its tables/runs.csv and what stands beside it: for claims to be decided anew."""

import json
from collections.abc import Sequence
from copy import copy
from itertools import combinations
from pathlib import Path

import pandas as pd

from hrrl.errors import UserError
from hrrl.report import statistics
from hrrl.report.claims import others
from hrrl.report.long_form import COLUMNS, POINT
from hrrl.report.results import CONCEPT_TITLES, Results


def recorded(folder: str | Path, claims: list[dict] | None = None, shifts: dict[str, str] | None = None) -> Results:
    """The results of a folder with tables/runs.csv, as far as claims, premise and power need them.

    Args:
        folder: what a run's report was written to.
        claims: what is to be decided; those that the folder's claims.json names where None. Of these, what the run has
            not measured is left out.
        shifts: target -> what differs on it from the benchmark; as the table of the premise has it where None.
    Raises:
        UserError: there is no runs.csv, or it is none of a run with scores.
    """
    tables = Path(folder, "tables")
    try:
        values = pd.read_csv(tables / "runs.csv", keep_default_na=False)
        values = values.astype({"seed": int, "value": float})
        svm, concepts = _table(tables / "svm.csv"), _table(tables / "concepts.csv")
        concepts = concepts.rename(columns={title: column for column, title in CONCEPT_TITLES.items()})
        concepts = concepts.astype({"q0": float} | dict.fromkeys({"classes", "of"} & {*concepts}, int))
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{folder}: holds no numbers of a run ({error}); takes a folder with tables/runs.csv") from None
    premise, shares = _optional(tables / "premise_targets.csv"), _optional(tables / "target_concepts.csv")
    claims_file = Path(folder, "claims.json")
    claim_rows = json.loads(claims_file.read_text(encoding="utf-8")) if claims_file.is_file() else []
    if not (scored := list(dict.fromkeys(values.variant[values.measure == "svm"]))):
        raise UserError(f"{tables / 'runs.csv'}: has no rows of the measure svm; takes those of a run with a report")
    ordered = [*values.variant[values.measure == "benchmark_accuracy"], *values.variant]  # as all tables are
    trained = [name for name in dict.fromkeys(ordered) if not name.startswith(POINT)]
    results = Results(
        name=Path(folder).name,
        headline=scored[-1],
        benchmark="the benchmark",
        targets=list(dict.fromkeys(values.target[values.measure == "svm"])),
        variants={name: {"example": None, "concept": None} for name in trained},
        compared=scored,
        shifts=shifts or dict(zip(premise.get("Target", []), premise.get("Differs in", []), strict=True)),
        concepts=concepts,
        target_concepts=None if shares.empty else shares.astype({"share": float}),
    )
    results.labels |= dict(zip(results.in_order(scored), svm.Method.str.removeprefix("SVM_"), strict=True))
    results.recorded = pd.concat([values, _q(tables / "q.csv", results, values)], ignore_index=True)
    results.image_errors = dict(item for row in claim_rows for item in _image_errors(row))
    claims = claims if claims is not None else [_claim(row) for row in claim_rows if row["primary"]]
    results.claims = [claim for claim in claims if _measured(claim, values)]
    return results


def pooled(parts: Sequence[Results]) -> Results:
    """Runs of the same settings with other seeds, as :func:`recorded` gives them, as one run with all their seeds.

    A difference's standard error over test images is that of the parts, weighted by their seeds: at least what it is
    over the mean of all seeds, as the same images are in all parts.

    Raises:
        UserError: two parts have a seed in common.
    """
    whole, seeds = copy(parts[0]), [{*part.runs("svm", part.targets[0]).index} for part in parts]
    for (first, its), (second, theirs) in combinations(zip(parts, seeds, strict=True), 2):
        if common := its & theirs:
            raise UserError(f"{second.name}: has seed {min(common)}, which {first.name} has; takes other seeds")
    vars(whole).pop("values", None)  # cached, of the first part's seeds alone
    whole.recorded = pd.concat([part.recorded for part in parts], ignore_index=True).drop_duplicates(COLUMNS[:-1])
    keys = set.intersection(*({*part.image_errors} for part in parts))
    weights = [len(its) / len(set.union(*seeds)) for its in seeds]
    whole.image_errors = {
        key: sum(weight * part.image_errors[key] for weight, part in zip(weights, parts, strict=True)) for key in keys
    }
    return whole


def _claim(row: dict) -> dict:
    """The claim of a row of claims.json, as in params.yaml."""
    keys = ["source", "better", "than", "margin", "endpoint", "target", "trend" if "trend" in row else "relation"]
    return {"name": row["claim"]} | {key: row[key] for key in keys if row.get(key) is not None}


def _measured(claim: dict, values: pd.DataFrame) -> bool:
    if "trend" in claim:
        return values.variant.str.startswith(POINT).any()
    endpoint = claim["endpoint"] if claim["endpoint"] in ("svm", "finetune") else "accuracy_step_0"
    rows = values[(values.measure == endpoint) & (values.target == (claim.get("target") or ""))]
    return {claim["better"], *others(claim["than"])} <= {*rows.variant}


def _image_errors(row: dict) -> list[tuple[tuple, float]]:
    """Standard errors over test images of a row of claims.json, for both orders of each pair."""
    errors = []
    for pair in [row, *row.get("pairs", [])]:
        if pair["ci95_test"]:
            low, high = pair["ci95_test"]
            error = (high - low) / 2 / statistics.quantile(statistics.UPPER, None)
            sides = row["better"], pair["compared"]
            errors += [((row["endpoint"], row["target"], *names), error) for names in (sides, sides[::-1])]
    return errors


def _q(path: Path, results: Results, values: pd.DataFrame) -> pd.DataFrame | None:
    """Rows of q after the last epoch where only the table has it: the mean over seeds, as every seed's value."""
    table, variants = _optional(path), {label: name for name, label in results.labels.items()}
    if values.measure.str.startswith("q_").any() or table.empty:
        return None
    table = table.melt("Method", var_name="measure")
    means = table.value.str.split().str[0].astype(float)
    table = table.assign(variant=table.Method.map(variants), value=means, target="")
    runs = values[["variant", "seed"]].drop_duplicates()
    return table.assign(measure="q_" + table.measure).drop(columns="Method").merge(runs, on="variant")


def _table(path: Path) -> pd.DataFrame:
    """A table of the report, as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _optional(path: Path) -> pd.DataFrame:
    return _table(path) if path.is_file() else pd.DataFrame()
