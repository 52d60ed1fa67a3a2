"""Metrics, tables, figures and the page that shows them: write(Results(...), folder)."""

from pathlib import Path

import pandas as pd

from hrrl.common.files import replacing, write_json
from hrrl.report.claims import claims
from hrrl.report.figures import figures
from hrrl.report.page import page
from hrrl.report.plots import plots
from hrrl.report.results import Results, label, labels
from hrrl.report.summary import headline, metrics
from hrrl.report.tables import headline_changes, tables
from hrrl.report.words import difference

__all__ = ["Results", "claims", "difference", "figures", "headline", "headline_changes", "label", "labels"]
__all__ += ["metrics", "page", "plots", "tables", "write", "write_frames"]


def write(results: Results, folder: str | Path, params: str = "") -> None:
    """Everything that a report is made of, each file or folder as a whole or not at all.

    claims.json, metrics.json, headline.json; tables/ (CSV: what is shown, and runs.csv and target_concepts.csv in full
    precision); plots/ (the data of the figures, and of DVC's plots); figures/ (SVG); report.html, with the text of
    params.yaml.
    """
    folder, decided = Path(folder), claims(results)
    numbers, text_tables, plot_data = metrics(results, decided), tables(results, decided), plots(results)
    write_json(folder / "claims.json", decided)
    write_json(folder / "metrics.json", numbers)
    write_json(folder / "headline.json", headline(numbers, results.headline))
    exact = {"runs": results.values, "target_concepts": results.target_concepts}
    changes = headline_changes(numbers, results.baseline, results.headline)
    with replacing(folder / "tables") as new:
        write_frames(text_tables | ({"headline": changes} if len(changes) else {}) | exact, new)
    with replacing(folder / "plots") as new:
        write_frames(plot_data, new, "%.6g")
    with replacing(folder / "figures") as new:
        figures(results, decided, plot_data, new)
    with replacing(folder / "report.html") as new:
        new.write_text(page(results, decided, text_tables, folder / "figures", params), encoding="utf-8")


def write_frames(frames: dict[str, pd.DataFrame], folder: str | Path, numbers: str | None = None) -> None:
    """<folder>/<name>.csv for each frame; numbers in full precision, where no form is given."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format=numbers, lineterminator="\n")
