"""The report as one page of HTML that needs nothing but itself."""

import base64
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from hrrl.report import concept_difficulty, search, statistics, summary, words
from hrrl.report.figures import looks
from hrrl.report.results import Results, label
from hrrl.report.statistics import MIN_SEEDS, UPPER, quantile


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
    templates, seeds, gallery = Path(__file__).parent, _seeds(results), Path(results.gallery or "")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "webp": lambda file: _data_uri(gallery / file, "webp")}
    return environment.get_template("page.html.j2").render(
        results=results,
        baseline=results.labels[results.baseline],
        verdicts=[row for row in decided if row["primary"]],
        **{"words": words, "summary": summary, "label": label},
        svm=summary.of_targets(results, "svm"),
        comparison=summary.comparison_columns(results),
        finetune=summary.of_targets(results, "finetune"),
        look=looks(results.variants),
        tables=tables,
        charts={file.stem: _data_uri(file, "svg+xml") for file in Path(figures).glob("*.svg")},
        problems=problems(results),
        seeds=seeds,
        params=params,
        pictures=results.gallery and json.loads((gallery / "gallery.json").read_text(encoding="utf-8")),
        members={name: rows.to_dict("records") for name, rows in results.members.groupby("dataset")},
        statistics={
            "t": {n - 1: round(quantile(UPPER, n), 6) for n in range(MIN_SEEDS, seeds + 1)},
            "enough": MIN_SEEDS,
        },
        script=(templates / "page.js").read_text(encoding="utf-8"),
        versions=versions(),
    )


def versions() -> str:
    """The versions of what decides the numbers."""
    packages = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "nltk", "dvc")
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"Python {python}", *(f"{name} {version(name)}" for name in packages)])


def problems(results: Results) -> list[str]:
    """What a reader must know before trusting the numbers."""
    fits, messages = results.svm, []
    for rows, problem in (
        (fits[~fits.converged.astype(bool)], "did not converge"),
        (fits[fits.edge.astype(bool)], "chose a C at the edge of the grid"),
    ):
        if len(rows):
            messages.append(f"{len(rows)} of {len(fits)} SVM fits {problem}: {_counts(rows)}.")
    for row in concept_difficulty.target_premise(results).itertuples():
        if row.premise == concept_difficulty.FAILS:
            messages.append(
                f"{row.target} has other concepts, but not those that {results.benchmark} serves badly: the validation "
                f"loss of {results.labels[results.baseline]} on its mix of concepts is {row.loss:.3f}, on the "
                f"benchmark's {row.benchmark_loss:.3f}. The paper's claims about concepts assume that it is larger."
            )
    return messages + _edges(results) + statistics.few_seeds(_seeds(results))


def _counts(fits: pd.DataFrame) -> str:
    """How many fits by C and target, "C = 0.001 (10 on same, 8 on garments)"; the table of fits lists each."""
    by_C = {C: rows.groupby("target", sort=False).size() for C, rows in fits.groupby("C")}
    return ", ".join(f"C = {C:g} ({', '.join(f'{n} on {t}' for t, n in sizes.items())})" for C, sizes in by_C.items())


def _edges(results: Results) -> list[str]:
    """Where the search chose the least or the greatest number of its grid."""
    points, messages = search.points(results), []
    for row in points[points.chosen].itertuples():
        for axis, symbol in (("tau", "τ"), ("lam", "λ")):
            value, grid = getattr(row, axis), points[points.family == row.family][axis]
            if value == value and grid.nunique() > 1 and value in (grid.min(), grid.max()):
                side = "least" if value == grid.min() else "greatest"
                messages.append(
                    f"The search took {row.label}, the {side} {symbol} of its grid: the best may lie beyond it."
                )
    return messages


def _seeds(results: Results) -> int:
    return results.values.seed[results.values.variant.isin(results.variants)].nunique()


def _data_uri(file: Path, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _cell(text: str) -> Markup:
    """Typography of one cell: the paper's subscripts (SVM_ERM), true minus signs, unbroken intervals."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", str(escape(text)))
    text = re.sub(r"^SVM_([^(\[+]+?)(?= [(\[+]|$)", r"SVM<sub>\1</sub>", text)
    return Markup(re.sub(r"(\[[+−][^]]*\])", r'<span class="ci">\1</span>', text))
