"""Metrics, tables, figures and the page that shows them, from the results of all stages.

results = Results(...)
claims(results)                        # the content of claims.json
metrics(results)                       # of metrics.json
headline(metrics, variant)             # of headline.json
write_tables(tables(results), folder)  # CSV and Markdown
write_runs(results, folder)            # every number of every run
write_plot_data(plot_data(results), folder)
write_plot_data(curves(results), folder)
figures(results, folder)               # PNG and SVG
page(results, folder_of_figures, text_of_params)
"""

from hrrl.report.claims import claims
from hrrl.report.curves import curves
from hrrl.report.figures import figures
from hrrl.report.page import page
from hrrl.report.results import PAPER, Results, label, labels
from hrrl.report.runs import runs, write_runs
from hrrl.report.summary import headline, metrics, plot_data, write_plot_data
from hrrl.report.tables import difference, headline_changes, tables, write_tables

__all__ = [
    "PAPER",
    "Results",
    "claims",
    "curves",
    "difference",
    "figures",
    "headline",
    "headline_changes",
    "label",
    "labels",
    "metrics",
    "page",
    "plot_data",
    "runs",
    "tables",
    "write_plot_data",
    "write_runs",
    "write_tables",
]
