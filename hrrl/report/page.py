"""The report as one page of HTML that needs nothing but itself."""

import base64
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from hrrl.report import concept_difficulty, search, statistics, summary
from hrrl.report.claims import COUNTED, ENDPOINTS, PAPERS_NAMES, UNDECIDED, VERDICTS, of_paper, statement
from hrrl.report.figures import CHARTS, looks
from hrrl.report.pictures import pictures
from hrrl.report.results import PAPER, Results
from hrrl.report.statistics import CONFIDENCE, TWO, quantile
from hrrl.report.summary import Column
from hrrl.report.tables import against, clear, compared, difference, interval, mean_std, number, paper


def page(
    results: Results, decided: list[dict], tables: dict[str, pd.DataFrame], figures: str | Path, params: str = ""
) -> str:
    """The HTML text of the report.

    Args:
        decided: what :func:`hrrl.report.claims.claims` gives.
        tables: what :func:`hrrl.report.tables.tables` gives.
        figures: the folder that :func:`hrrl.report.figures.figures` wrote; the SVGs there are embedded.
        params: the text of params.yaml, shown at the end.
    """
    here = Path(__file__).parent
    loader = jinja2.FileSystemLoader(here)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell}
    return environment.get_template("page.html.j2").render(
        results=results,
        baseline=results.labels[results.baseline],
        verdicts=verdicts(results, decided),
        words=VERDICTS,
        counted=COUNTED,
        enough=TWO,
        svm=grid(results, summary.of_targets(results, "svm"), "SVM_{}"),
        comparison=grid(results, summary.comparison_columns(results)),
        finetune=grid(results, summary.of_targets(results, "finetune", -1)),
        tables=tables,
        charts=charts(figures),
        problems=problems(results),
        seeds=_seeds(results),
        params=params,
        pictures=pictures(results),
        members={name: rows.to_dict("records") for name, rows in results.members.groupby("dataset")},
        baselines={variant: results.labels[variant] for variant in results.compared},
        statistics={"t": quantiles(results), "enough": TWO},
        script=(here / "page.js").read_text(encoding="utf-8"),
        versions=versions(),
    )


def quantiles(results: Results) -> dict[int, float]:
    """Student's t of a two-sided 95% interval by degrees of freedom, as many as there can be."""
    return {n - 1: round(quantile((1 + CONFIDENCE) / 2, n), 6) for n in range(2, _seeds(results) + 1)}


def versions() -> str:
    """The versions of what decides the numbers."""
    packages = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "nltk", "dvc")
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"Python {python}", *(f"{name} {version(name)}" for name in packages)])


def grid(results: Results, columns: list[Column], form: str = "{}") -> dict:
    """A table for the page: {"titles", "rows"}; one cell per row and column, None without a score."""
    look = looks(results.variants)
    rows = [
        {
            "method": form.format(results.labels[variant]),
            "color": look[variant]["color"],
            "headline": variant == results.headline,
            "variant": variant,
            "cells": [_score(results, variant, column) for column in columns],
        }
        for variant in results.in_order({variant for column in columns for variant in column.scores})
    ]
    return {"titles": [column.title for column in columns], "rows": rows}


def _score(results: Results, variant: str, column: Column) -> dict | None:
    if variant not in column.scores:
        return None
    score = column.scores[variant]
    better = column.sign * score.get("difference", {}).get("mean", 0) > 0
    return {
        "title": column.title,
        "text": mean_std(score),
        "runs": (column.runs or {}).get(variant, {}),
        "sign": column.sign,
        "difference": interval(score) if "difference" in score else "",
        "verdict": ("better" if better else "worse") if clear(score) else "",
        "paper": paper(results, column.target, variant) if results.paper(column.target, variant) else "",
    }


def verdicts(results: Results, decided: list[dict]) -> list[dict]:
    """The claims on their primary endpoints: what is claimed, what the paper says, what this run says, its verdict."""
    return [
        {
            "statement": statement(results, row),
            "paper": _paper(results, row),
            "ours": difference(row),
            "numbers": _numbers(results, row),
            "evidence": _evidence(results, row),
            "meaning": VERDICTS[row["verdict"]],
            **{key: row[key] for key in ("source", "verdict")},
        }
        for row in decided
        if row["primary"]
    ]


def _paper(results: Results, row: dict) -> dict[str, str]:
    """The paper's difference and numbers on its target that has the same shift."""
    found = of_paper(results, row)
    if not found:
        return {"difference": "–", "numbers": "prints no number"}
    target, paper_difference = found
    numbers = [PAPER[target][row[name]][0] for name in ("better", "compared")]
    words = f"{PAPERS_NAMES[target]}: {numbers[0]:.2f} vs. {numbers[1]:.2f}"
    return {"difference": f"{paper_difference:+.2f}", "numbers": words}


def _numbers(results: Results, row: dict) -> str:
    """This run's means over the seeds that both have, as the paper's are shown."""
    if row["relation"] == "trend":
        return f"from the least to the most of {len(row['doses'])} doses" if row["doses"] else ""
    runs = summary.runs_of(results, row["endpoint"], row["target"] or "")
    table = pd.DataFrame({name: runs.get(name, pd.Series(dtype=float)) for name in (row["better"], row["compared"])})
    means = table.dropna().mean()
    if means.isna().any():
        return ""
    where = row["target"] or row["endpoint"].replace("_", " ")
    return f"{where}: {means[row['better']]:.2f} vs. {means[row['compared']]:.2f}"


def _evidence(results: Results, row: dict) -> str:
    """How the difference came about, in words."""
    if row["difference"] is None:
        return "Nothing was measured that could decide it."
    title, seeds = ENDPOINTS[row["endpoint"]].title, f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    if row["relation"] == "trend":
        doses = ", ".join(f"{name} {value:.2f}" for name, value in row["doses"].items())
        least = f", at least {row['least_p']:.3f} with so few" if row["verdict"] == UNDECIDED else ""
        return f"{title} (%): {doses}; {seeds}, p = {number(row['p'], '.3f')}{least}."
    parts = [f"{title}, {compared(results, row)}, {seeds}."]
    if row["relation"] != "better":
        parts += [f"Judged against {against(row)}."]
    others = [pair for pair in row["pairs"] if pair["compared"] != row["compared"]]
    parts += [f"Against {results.labels[other['compared']]}: {difference(other)}." for other in others]
    beside = {name: found for name, found in row["beside"].items() if found["difference"] is not None}
    parts += [f"{name.replace('_', ' ').capitalize()}: {difference(found)}." for name, found in beside.items()]
    if row["detectable"] is not None and row["verdict"] == UNDECIDED:
        parts += [f"A true difference of {row['detectable']:.2f} would be found in 80% of such runs."]
    if row["ci95"] and row["ci95_test"] is None:
        parts += ["Without a part for test images."]
    return " ".join(parts)


def charts(folder: str | Path) -> dict[str, dict]:
    """name -> title, reading and the figure as a data URI, of the figures that are in the folder."""
    files = {name: Path(folder) / f"{name}.svg" for name in CHARTS}
    return {
        name: {
            "title": CHARTS[name].title,
            "reading": CHARTS[name].reading,
            "alt": CHARTS[name].alt,
            "source": _data_uri(file),
        }
        for name, file in files.items()
        if file.exists()
    }


def problems(results: Results) -> list[str]:
    """What a reader must know before trusting the numbers."""
    fits, found = results.svm, []
    for rows, what in (
        (fits[~fits.converged.astype(bool)], "did not converge"),
        (fits[fits.edge.astype(bool)], "chose a C at the edge of the grid"),
    ):
        if len(rows):
            found.append(f"{len(rows)} of {len(fits)} SVM fits {what}: {_where(rows)}.")
    for row in concept_difficulty.target_premise(results).itertuples():
        if row.premise == concept_difficulty.FAILS:
            found.append(_not_hard(results, row))
    return found + _edges(results) + statistics.few_seeds(_seeds(results))


def _where(fits: pd.DataFrame) -> str:
    """ "C = 0.001 (10 on same, 8 on garments)"; the table of fits has each."""
    by_C = {C: rows.groupby("target", sort=False).size() for C, rows in fits.groupby("C")}
    return ", ".join(f"C = {C:g} ({', '.join(f'{n} on {t}' for t, n in on.items())})" for C, on in by_C.items())


def _edges(results: Results) -> list[str]:
    """Where the search took the least or the greatest number of its grid."""
    points, found = search.points(results), []
    for row in points[points.chosen].itertuples():
        for axis, symbol in (("tau", "τ"), ("lam", "λ")):
            value, grid = getattr(row, axis), points[points.family == row.family][axis]
            if value == value and grid.nunique() > 1 and value in (grid.min(), grid.max()):
                side = "least" if value == grid.min() else "greatest"
                found.append(
                    f"The search took {row.label}, the {side} {symbol} of its grid: the best may lie beyond it."
                )
    return found


def _not_hard(results: Results, row: Any) -> str:
    return (
        f"{row.target} has other concepts, but not those that {results.benchmark} serves badly: the validation loss of "
        f"{results.labels[results.baseline]} on its mix of concepts is {row.loss:.3f}, on the benchmark's "
        f"{row.benchmark_loss:.3f}. The paper's claims about concepts assume that it is larger."
    )


def _seeds(results: Results) -> int:
    return results.values.seed[results.values.variant.isin(results.variants)].nunique()


def _data_uri(svg: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.read_bytes()).decode()


def _cell(text: str) -> Markup:
    """Typography of one cell: the paper's subscripts (SVM_ERM), true minus signs, unbroken intervals."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", str(escape(text)))
    text = re.sub(r"^SVM_([^(\[+]+?)(?= [(\[+]|$)", r"SVM<sub>\1</sub>", text)
    return Markup(re.sub(r"(\[[+−][^]]*\])", r'<span class="ci">\1</span>', text))
