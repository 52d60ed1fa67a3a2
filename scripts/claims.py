"""Decides a finished run's claims anew, by today's definitions: python -m scripts.claims FOLDER.

From FOLDER/tables/runs.csv and claims.json; writes claims.json, the tables of claims and premise, the figure, and what
metrics.json, headline.json and report.html say of them. Claims are those of presets/<name of the folder>.yaml, or those
that claims.json names. What runs.csv lacks is left out and named.

Of several folders, runs that differ in seeds alone, it decides the claims of the first by all seeds together:
python -m scripts.claims FOLDER FOLDER --to NEW.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import pandas as pd

from hrrl import report
from hrrl.common.files import replacing, write_json
from hrrl.errors import UserError
from hrrl.report.claims import HOLDS
from hrrl.report.recorded import pooled, recorded
from hrrl.settings import params_file, schema
from scripts import ROOT, run

POOLED = ("svm", "augmented_accuracy", "concept_accuracy", "concepts", "finetune")  # beside the verdicts
TABLES = ("claims", "claims_beside", "claims_secondary", "premise_targets", "premise_weights")
DECIDED = re.compile('<h2 id="claims">.*?(?=<h2 id="(?!claims|premise))', re.DOTALL)  # of a page
NOTE = (
    '<p class="soft">The verdicts and the premise were computed anew from tables/runs.csv, by the definitions of '
    "docs/evidence.md; the search, and which images a network itself gets right, were not recorded then.</p>\n"
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, metavar="NEW", help="the folder for the verdicts of several")
    options = parser.parse_args(arguments)
    if (len(options.folder) > 1) != bool(options.to):
        parser.error("several folders take --to, a folder for their verdicts; one is written to itself")
    if options.to:
        return pool(options.folder, options.to)
    preset = ROOT / "presets" / f"{options.folder[0].resolve().name}.yaml"
    decide(options.folder[0], schema.load(preset) if preset.is_file() else None)


def decide(folder: Path, source: schema.Params | None) -> None:
    """Writes the verdicts into a folder, by the claims of params, or those that its claims.json names."""
    claims = source and source.as_dict()["claims"]
    claims = claims and [{key: value for key, value in claim.items() if value is not None} for claim in claims]
    results = recorded(folder, claims, source and source.as_dict()["shifts"])
    missing = [claim["name"] for claim in claims or [] if claim not in results.claims]
    if missing:
        print(f"{folder}: not measured, or not recorded: {', '.join(missing)}")
    values = results.values
    if "q_" not in _text(folder / "tables/runs.csv"):
        values = values[~values.measure.str.startswith("q_")]
    write(results, folder, values, TABLES)


def pool(folders: list[Path], to: Path) -> None:
    """Writes the verdicts by the seeds of several runs into a new folder, with the tables of all seeds.

    Raises:
        UserError: the runs differ in more than name and seeds.
    """
    base, *others = (params_file.read(folder / "params.yaml") for folder in folders)
    for folder, params in zip(folders[1:], others, strict=True):
        if keys := [key for key in base if key not in ("name", "seeds") and params.get(key) != base[key]]:
            raise UserError(f"{folder}/params.yaml: {keys[0]} is not as in {folders[0]}; takes runs with other seeds")
    results = pooled([recorded(folder) for folder in folders])
    report.write_frames({"target_concepts": results.target_concepts}, to / "tables")
    write(results, to, results.values, (*TABLES, *POOLED))


def write(results: report.Results, folder: Path, values: pd.DataFrame, names: tuple[str, ...]) -> None:
    """The verdicts, the tables of some names, and the values that runs.csv is to have."""
    rows = report.claims(results)
    tables, metrics = report.tables(results, rows), report.metrics(results, rows)
    verdicts = [claim["verdict"] for claim in metrics["claims"].values()]
    write_json(folder / "claims.json", rows)
    _update(folder / "metrics.json", {name: metrics[name] for name in ("claims", "premise") if name in metrics})
    _update(folder / "headline.json", {"claims": f"{verdicts.count(HOLDS)}/{len(verdicts)}"})
    for name in TABLES:
        (folder / f"tables/{name}.csv").unlink(missing_ok=True)
    frames = {name: tables[name] for name in names if name in tables} | {"runs": values}
    with tempfile.TemporaryDirectory() as new:
        report.write_frames(frames, new)
        for name in frames:
            _put(Path(new, f"{name}.csv").read_bytes(), folder / f"tables/{name}.csv")
    if files := [*folder.glob("figures/claims.svg"), *folder.glob("report.html")]:
        _draw(results, rows, tables, files)
    for row in rows:
        if row["primary"]:
            print(f"{row['claim']:<20} {row['verdict']:<10} {report.difference(row)}")


def _draw(results: report.Results, rows: list[dict], tables: dict[str, pd.DataFrame], files: list[Path]) -> None:
    """The figure and the page, of which a folder may have either."""
    with tempfile.TemporaryDirectory() as new:
        report.figures(results, rows, report.plots(results), new)
        for file in files:
            if file.suffix == ".html":
                _put(_patched(_text(file), report.page(results, rows, tables, new)).encode(), file)
            else:
                _put(Path(new, file.name).read_bytes(), file)


def _put(content: bytes, file: Path) -> None:
    """Writes a file that may be a link: behind it is DVC's cache, which stays as it is."""
    with replacing(file) as new:
        new.write_bytes(content)


def _update(file: Path, parts: dict) -> None:
    """Puts parts into a file of JSON, where it is there."""
    if file.is_file():
        write_json(file, json.loads(_text(file)) | parts)


def _patched(old: str, new: str) -> str:
    """A page with the claims and the premise of another."""
    section = re.search(DECIDED, new)[0].replace("</h2>\n", "</h2>\n" + NOTE, 1)
    return re.sub(DECIDED, lambda _: section, old, count=1)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    run(main)
