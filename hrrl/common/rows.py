"""Rows of numbers as CSV, for training: without pandas, whose import takes a second."""

import csv
from pathlib import Path


def write_rows(path: Path, rows: list[dict]) -> None:
    """Writes rows: floats in full, so that they read back bit by bit; an empty field where a row lacks a key."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
