"""Gathers the results of every stage into metrics.json, tables, plots, figures and report.html: reports/<name>/."""

import json
from pathlib import Path

import pandas as pd
from common import concepts_folder, measured, model_folder, run, whole, write_json
from ruamel.yaml import YAML

from hrrl import reporting

PAPERS_KINDS = ("cifar10", "sop", "svhn")


def main(params):
    results = gather(params)
    folder = Path("reports", params.name)
    write_json(folder / "metrics.json", reporting.metrics(results))
