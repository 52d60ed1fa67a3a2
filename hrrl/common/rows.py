"""Rows of numbers as CSV: what training keeps, without the second that importing pandas takes."""

import csv
from pathlib import Path


def write_rows(path: Path, rows: list[dict]) -> None:
    """Writes rows; floats so that reading gives them back to the bit, nothing where a row lacks a key."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
