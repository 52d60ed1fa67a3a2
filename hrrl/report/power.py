"""How many seeds a difference takes, by how differences varied in a finished run.

    python -m hrrl.report.power results/quick_20_seeds                   # every comparison with the baseline
    python -m hrrl.report.power results/quick_20_seeds --difference 0.5 --seeds 5
    python -m hrrl.report.power results/quick_20_seeds --than el    # with another

For each comparison: the standard deviation of its paired differences over seeds, the standard error over test images
where the run has it, the difference that --seeds seeds find in 80% of runs, and the seeds that --difference takes.
"""

import argparse
import sys

import pandas as pd

from hrrl.errors import UserError
from hrrl.report import statistics
from hrrl.report.claims import ENDPOINTS
from hrrl.report.recorded import recorded
from hrrl.report.results import Results
from hrrl.report.tables import written


def power(results: Results, difference: float, seeds: int, than: str | None = None) -> pd.DataFrame:
    """[measure, target, better, than, seeds, std, images, detectable, needed], one row per comparison.

    std: of the paired differences over the run's ``seeds``; images: standard error of their mean over test images, NaN
    where it is not known; detectable: with the number of seeds that is asked for; needed: seeds for a true difference,
    None where no number is enough.
    """
    than, rows = than or results.baseline, []
    values = results.values[results.values.measure.isin(ENDPOINTS)]
    for measure, target in values[["measure", "target"]].drop_duplicates().itertuples(index=False):
        runs = results.runs(measure, target)
        for name in results.in_order(runs) if than in runs else []:
            differences = (runs[name] - runs[than]).dropna()
            if name == than or len(differences) < statistics.MIN_SEEDS:
                continue
            std, images = differences.std(), results.image_errors.get((measure, target or None, name, than))
            detectable = statistics.detectable(std / seeds**0.5, seeds, images or 0.0)
            needed = statistics.seeds_needed(std, difference, images or 0.0)
            rows.append((measure, target, name, than, len(differences), std, images, detectable, needed))
    columns = ["measure", "target", "better", "than", "seeds", "std", "images", "detectable", "needed"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)  # needed: a number of seeds, or None
    return table.astype(dict.fromkeys(["std", "images", "detectable"], float))


def power_table(results: Results, rows: pd.DataFrame, difference: float, seeds: int) -> pd.DataFrame:
    """The rows of :func:`power` as text, with titles."""
    endpoints, labels = rows.measure.str.replace("_", " ") + " " + rows.target, results.labels
    rows = rows.assign(
        endpoint=endpoints.str.strip(),
        compared=rows.better.map(labels) + " − " + rows.than.map(labels),
        needed=["more than 10,000" if needed is None else needed for needed in rows.needed],
    )
    titles = {"Endpoint": "endpoint", "Compared": "compared", "Seeds": "seeds", "Std over seeds": "std:.2f"}
    titles |= {"Error over images": "images:.2f", f"Found with {seeds} seeds": "detectable:.2f"}
    return written(rows, titles | {f"Seeds for {difference:g}": "needed"})


def main(arguments: list[str] | None = None) -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m hrrl.report.power", description=__doc__, formatter_class=formatter)
    parser.add_argument("folder", help="of a finished run, with tables/runs.csv")
    parser.add_argument("--difference", type=float, default=1.0, metavar="POINTS", help="that is to be found (1)")
    parser.add_argument("--seeds", type=int, default=5, help="of the run that is planned (5)")
    parser.add_argument("--than", help="the variant that all are compared with (the baseline)")
    args = parser.parse_args(arguments)
    try:
        results = recorded(args.folder)
    except UserError as error:
        sys.exit(str(error))
    if args.than not in (None, *results.variants):
        sys.exit(f"{args.folder}: has no variant {args.than}; it has {', '.join(results.variants)}")
    if not args.difference > 0 or args.seeds < statistics.MIN_SEEDS:
        sys.exit("--difference takes points above 0, --seeds a number of two or more")
    rows = power(results, args.difference, args.seeds, args.than)
    table = power_table(results, rows, args.difference, args.seeds)
    print(table.to_markdown(index=False, disable_numparse=True) if len(rows) else "nothing to compare")


if __name__ == "__main__":
    main()
