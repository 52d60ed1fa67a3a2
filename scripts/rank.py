"""Ranks experiments by a variant's SVM validation accuracy: python -m scripts.rank VARIANT

Prints one line per experiment (mean over targets and seeds), the best first, and the -S line of the best. Test accuracy
plays no part.
"""

import json
import subprocess
import sys


def main(variant: str) -> None:
    shown = json.loads(subprocess.run(["dvc", "exp", "show", "--json"], check=True, capture_output=True).stdout)
    workspace, *commits = shown
    experiments = [rev for commit in commits for one in commit["experiments"] or [] for rev in one["revs"]]
    ranked = sorted((row for rev in experiments if (row := score(rev, variant))), key=lambda row: -row[0])
    if not ranked:
        sys.exit(f"no finished experiment has an SVM score of {variant!r}; dvc exp run --queue -S ..., dvc queue start")
    base = settings(workspace["data"], variant)
    for accuracy, name, rev in ranked:
        print(f"{accuracy:7.3f}  {name:20}  {overrides(settings(rev, variant), base)}")
    best = settings(ranked[0][2], variant)
    print(f"\nbest: dvc exp run {' '.join(f'-S {key}={value}' for key, value in best.items())}")


def score(rev: dict, variant: str):
    """Mean validation accuracy over targets, name and data of one experiment; None where it has not finished."""
    data = rev.get("data") or {}
    for metrics in (data.get("metrics") or {}).values():
        targets = (metrics.get("data") or {}).get("svm", {})
        values = [scores[variant]["validation"]["mean"] for scores in targets.values() if variant in scores]
        if values:
            return sum(values) / len(values), rev.get("name") or data["rev"][:7], data
    return None


def settings(data: dict, variant: str) -> dict:
    """The variant's own parameters, by dotted key."""
    return flat(data["params"]["params.yaml"]["data"]["variants"][variant], f"variants.{variant}")


def flat(node, key: str) -> dict:
    if not isinstance(node, dict):
        return {key: node}
    return {k: v for name, child in node.items() for k, v in flat(child, f"{key}.{name}").items()}


def overrides(found: dict, base: dict) -> str:
    changed = [f"{key}={value}" for key, value in found.items() if base.get(key) != value]
    return " ".join(changed) or "(as in the workspace)"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
