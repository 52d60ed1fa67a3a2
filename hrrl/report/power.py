"""How many seeds a difference takes, by how differences varied in a finished run.

    python -m hrrl.report.power results/quick_20_seeds                   # every comparison with the baseline
    python -m hrrl.report.power results/quick_20_seeds --difference 0.5 --seeds 5
    python -m hrrl.report.power results/quick_20_seeds --better hrrl --than el

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
from hrrl.report.words import number


def power(
    results: Results, difference: float, seeds: int, better: str | None = None, than: str | None = None
) -> pd.DataFrame:
    """[measure, target, better, than, seeds, std, images, detectable, needed], one row per comparison.

    std: of the paired differences over the run's ``seeds``; images: standard error of their mean over test images, NaN
    where it is not known; detectable: with the number of seeds that is asked for; needed: seeds for a true difference,
    None where no number is enough.
    """
    than, found = than or results.baseline, []
    values = results.values[results.values.measure.isin(ENDPOINTS)]
    for measure, target in values[["measure", "target"]].drop_duplicates().itertuples(index=False):
        runs = results.runs(measure, target)
        for name in results.in_order(runs) if than in runs else []:
            differences = (runs[name] - runs[than]).dropna()
            if name == than or better not in (None, name) or len(differences) < statistics.TWO:
                continue
            std, images = differences.std(), results.image_errors.get((measure, target or None, name, than))
            detectable = statistics.detectable(std / seeds**0.5, seeds, images or 0.0)
            needed = statistics.seeds_needed(std, difference, images or 0.0)
            found.append((measure, target, name, than, len(differences), std, images, detectable, needed))
    columns = ["measure", "target", "better", "than", "seeds", "std", "images", "detectable", "needed"]
    table = pd.DataFrame(found, columns=columns, dtype=object)  # needed: a number of seeds, or None
    return table.astype(dict.fromkeys(["std", "images", "detectable"], float))


def power_table(results: Results, rows: pd.DataFrame, difference: float, seeds: int) -> pd.DataFrame:
    """The same as text."""
    titles = ["Endpoint", "Compared", "Seeds", "Std over seeds", "Error over images"]
    titles += [f"Found with {seeds} seeds", f"Seeds for {difference:g}"]
    cells = [
        (
            f"{r.measure.replace('_', ' ')} {r.target}".strip(),
            f"{results.labels[r.better]} − {results.labels[r.than]}",
            *(str(r.seeds), f"{r.std:.2f}", number(r.images), f"{r.detectable:.2f}"),
            "more than 10,000" if r.needed is None else str(r.needed),
        )
        for r in rows.itertuples()
    ]
    return pd.DataFrame(cells, columns=titles)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hrrl.report.power",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="of a finished run, with tables/runs.csv")
    parser.add_argument("--difference", type=float, default=1.0, metavar="POINTS", help="that is to be found (1)")
    parser.add_argument("--seeds", type=int, default=5, help="of the run that is planned (5)")
    parser.add_argument("--better", help="a variant (all but the other)")
    parser.add_argument("--than", help="the variant that it is compared with (the baseline)")
    asked = parser.parse_args(arguments)
    try:
        results = recorded(asked.folder)
        for name in filter(None, (asked.better, asked.than)):
            if name not in results.variants:
                raise UserError(f"{asked.folder}: has no variant {name}; it has {', '.join(results.variants)}")
        if asked.difference <= 0 or asked.seeds < statistics.TWO:
            raise UserError("--difference takes points above 0, --seeds a number of two or more")
    except UserError as error:
        sys.exit(str(error))
    rows = power(results, asked.difference, asked.seeds, asked.better, asked.than)
    table = power_table(results, rows, asked.difference, asked.seeds)
    print(table.to_markdown(index=False, disable_numparse=True) if len(rows) else "nothing to compare")


if __name__ == "__main__":
    main()
