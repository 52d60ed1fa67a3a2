"""Metrics, tables, figures and the page that shows them, from the results of all stages.

results = Results(...)
metrics(results)                       # the content of metrics.json
write_tables(tables(results), folder)  # CSV and Markdown
write_plot_data(plot_data(results), folder)
figures(results, folder)               # PNG and SVG
page(results, folder_of_figures, text_of_params)
"""

from hrrl.reporting.figures import figures
from hrrl.reporting.page import page
from hrrl.reporting.results import PAPER, Results, label, labels
from hrrl.reporting.summary import metrics, plot_data, write_plot_data
from hrrl.reporting.tables import tables, write_tables

__all__ = [
    "PAPER",
    "Results",
    "figures",
    "label",
    "labels",
    "metrics",
    "page",
    "plot_data",
    "tables",
    "write_plot_data",
    "write_tables",
]
