"""Compares experiments by SVM *validation* accuracy: python -m scripts.compare [VARIANT], or `make compare`.

One row for each finished experiment of the preset in params.yaml, and one for the last commit, the best first: the
parameters in which they differ, and the variant's accuracy on each target with its standard deviation over seeds,
cross-validated on the training parts. Test accuracy plays no part. Experiments that differ from params.yaml in other
parameters than the variant's, or than those named with --sweep, are left out.
"""

import argparse
import json
import re
import shlex
import sys
from statistics import mean

from ruamel.yaml import YAML
from tabulate import tabulate

from hrrl.settings import params_file
from scripts import run
from scripts.cells import dvc
from scripts.commits import git


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", nargs="?", help="whose scores are compared (default: the headline of params.yaml)")
    parser.add_argument("--sweep", nargs="+", metavar="KEY", help="parameters that may differ")
    arguments = parser.parse_args()
    base = params_file.read("params.yaml")
    variant = arguments.variant or base["headline"]
    keys = arguments.sweep or [f"variants.{variant}"]
    revisions = [("last commit", "HEAD"), *experiments()]
    rows = [row for name, rev in revisions if (row := read(name, rev, base, variant, keys))]
    if not rows and variant not in base["variants"]:
        sys.exit(f"params.yaml has no variant {variant!r}; it has {', '.join(base['variants'])}")
    if not rows:
        sys.exit(
            f"no experiment of the preset {base['name']} has validation scores of {variant}; "
            f"begin one with dvc exp run --queue -S '{keys[0]}...=...', then dvc queue start"
        )
    rows = list({json.dumps(row["params"]): row for row in reversed(rows)}.values())  # each setting once
    rows.sort(key=lambda row: -row["mean"])
    swept = list(dict.fromkeys(key for row in rows for key in row["changed"]))
    targets = list(dict.fromkeys(target for row in rows for target in row["scores"]))
    short = [key.removeprefix(f"variants.{variant}.") for key in swept]
    table = []
    for row in rows:
        settings = [str(row["params"].get(key, "-")) for key in swept]
        table.append([row["name"], *settings, *(score(row["scores"].get(t)) for t in targets), f"{row['mean']:.2f}"])
    print(f"SVM of {variant}: validation accuracy (%), mean ± std over seeds")
    print(tabulate(table, ["experiment", *short, *targets, "mean"], "pipe", disable_numparse=True))
    if swept:
        print("best: dvc exp run", *(override(key, rows[0]["params"], flat(base)) for key in swept))


def experiments() -> list[tuple[str, str]]:
    """Name and commit of all experiments; a name is one commit's alone.

    By one call of `dvc exp list`, whose order is another in each.
    """
    listing = dvc("exp", "list", "--all-commits")
    return sorted((name, commit) for commit, name in re.findall(r"^\t(\w+) \[(.+)\]$", listing, re.MULTILINE))


def read(name: str, rev: str, base: dict, variant: str, keys: list[str]) -> dict | None:
    """The settings and validation scores of a revision; None where it is not one of those that are compared."""
    params, metrics = show(rev, "params.yaml"), show(rev, "reports/metrics.json")
    if params is None or metrics is None or params["name"] != base["name"]:
        return None
    params, base = flat(params), flat(base)
    changed = [key for key in dict.fromkeys([*base, *params]) if params.get(key) != base.get(key)]
    within = all(any(key == swept or key.startswith(f"{swept}.") for swept in keys) for key in changed)
    scores = {t: results[variant]["validation"] for t, results in metrics["svm"].items() if variant in results}
    if not within or not scores:
        return None
    average = mean(validation["mean"] for validation in scores.values())
    return {"name": name, "params": params, "changed": changed, "scores": scores, "mean": average}


def flat(node, key: str = "") -> dict:
    """Nested dicts as one, with dotted keys; a method without settings is a value, {}."""
    if not isinstance(node, dict) or not node:
        return {key: node}
    return {k: v for name, child in node.items() for k, v in flat(child, f"{key}.{name}" if key else name).items()}


def override(key: str, best: dict, base: dict) -> str:
    """The -S by which a parameter of params.yaml is the best row's, for a shell."""
    if key not in best:
        return "-S " + shlex.quote(f"~{key}")
    return "-S " + shlex.quote(f"{'' if key in base else '+'}{key}={json.dumps(best[key])}")


def show(rev: str, file: str):
    """The content of a JSON or YAML file at a revision, if it has it."""
    text = git("show", f"{rev}:./{file}")
    return YAML(typ="safe").load(text) if text else None  # JSON is YAML


def score(validation: dict | None) -> str:
    if validation is None:
        return ""
    return f"{validation['mean']:.2f}" + (f" ± {validation['std']:.2f}" if "std" in validation else "")


if __name__ == "__main__":
    run(main)
