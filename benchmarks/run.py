"""Where the project stands, as ratios taken in one run: benchmarks/results.json.

    python -m benchmarks.run                    everything, as `make bench`; half an hour, most of it LinearSVC's
    python -m benchmarks.run --only axes cosine some groups; the other numbers of the file stay
    python -m benchmarks.run --compare          `make bench-compare`: measures, and compares with the file instead of
                                                writing it: a ratio that is worse by more than 10% is flagged (exit 1)
    python -m benchmarks.run --small --rounds 1 a trial: small SVM, smoke preset

Rounds are interleaved: each measures everything that is compared once, and yields one ratio. The file has the median,
the minimum and the maximum over the rounds. benchmarks/README.md has the numbers and what profiling found.
"""

import argparse
import json
import os
import pkgutil
import sys
from importlib import metadata
from statistics import median

from tabulate import tabulate

from benchmarks import ROOT
from hrrl import arithmetic
from hrrl.common.files import write_json

REPORT = ROOT / "benchmarks/results.json"
GROUPS = {  # functions of the rounds, and whether small, to what they add to the report
    "throughput": "benchmarks.throughput:results",
    "photographs": "benchmarks.photographs:results",
    "axes": "benchmarks.axes:results",
    "cosine": "benchmarks.precision:cosine",
    "accuracy": "benchmarks.precision:accuracy",
    "svm": "benchmarks.svm:results",
    "noop": "benchmarks.pipeline:noop",
    "overhead": "benchmarks.pipeline:overhead",
    "scaling": "benchmarks.scaling:results",
    "manifest": "benchmarks.manifest:results",
}
STATISTICS = {"ratios": median, "minimum": min, "maximum": max}
TARGETS = {  # what a ratio should be, at least or at most, and what it is
    "erm_vs_reference_32px": (">=", 2.0, "images/s of erm over a plain PyTorch loop, ResNet-18, 32 pixels, 2 threads"),
    "erm_vs_reference_64px": (">=", 2.0, "the same at 64 pixels"),
    "erm_vs_reference_224px": (">=", 1.2, "the same at 224 pixels, from JPEG files of 256"),
    "photographs_files_vs_pil": (
        *(">=", 1.7),
        "224-pixel crops a second and core from JPEG files of 500 x 375, over PIL's",
    ),
    "photographs_packed_vs_pil": (">=", 3.0, "the same, of the dataset packed by `make pack`"),
    "cl_over_erm": ("<=", 1.01, "step time of cl over erm, 32 pixels, 1 thread"),
    "el_over_erm": ("<=", 1.40, "step time of el over erm"),
    "hrrl_over_erm": ("<=", 1.42, "step time of hrrl over erm"),
    "pgd3_over_el": (">=", 2.0, "step time of PGD with 3 steps, written plainly, over el"),
    "wrm15_over_el": (">=", 8.0, "step time of WRM with 15 steps, written plainly, over el"),
    "el_direction_cosine": (">=", 0.99, "cosine of the bfloat16 perturbation to the float32 one, on a trained net"),
    "features_vs_reference": (">=", 2.0, "images/s of feature extraction over a plain loop, 64 pixels"),
    "svm_vs_reference": (">=", 8.0, "time of plain LinearSVC calls over ours, 50,000 x 512, 10 classes, five C's"),
    "noop_repro_seconds": ("<=", 3.0, "seconds of a `dvc repro` that has nothing to do"),
    "repro_overhead": (
        *("<=", 0.2),
        "share of `make repro` (quick preset, fresh clone, two jobs) neither training nor scoring",
    ),
}


def measured(group: str, rounds: int, small: bool) -> dict:
    """The parts of the report that a group measures."""
    print(f"{group} ...", flush=True)
    found = pkgutil.resolve_name(GROUPS[group])(rounds, small)
    values = found.pop("values", {})
    ratios = {part: {key: round(of(values[key]), 4) for key in values} for part, of in STATISTICS.items()}
    return ratios | found


def settings(rounds: int) -> dict:
    from benchmarks.axes import compute

    images = "Tiny-ImageNet" if "HRRL_DATA" in os.environ else "Fashion-MNIST"
    machine = {"processor": arithmetic.cpu(), "cores": os.cpu_count(), "torch": metadata.version("torch")}
    return machine | {"images": images, "rounds": rounds, "compute": compute().model_dump()}


def as_good(sign: str, value: float, other: float) -> bool:
    return value >= other if sign == ">=" else value <= other


def worse(key: str, new: float, old: float) -> bool:
    """By more than 10%, in the direction that the key should not go."""
    sign = next((TARGETS[name][0] for name in TARGETS if key.startswith(name)), ">=")
    return not as_good(sign, new, old / 1.1 if sign == ">=" else old * 1.1)


def compared(report: dict, old: dict) -> str:
    """All ratios beside those of an earlier report."""
    rows = [
        (key, value, was := old["ratios"].get(key), "WORSE" if was and worse(key, value, was) else "")
        for key, value in report["ratios"].items()
    ]
    return tabulate(rows, ["key", "now", "was", ""], floatfmt=".3f")


def markdown(report: dict) -> str:
    """The ratios that have a target, and what time and memory grow with, as tables."""
    rows = []
    for key, (sign, target, what) in TARGETS.items():
        if key in report["ratios"]:
            middle, low, high = (f"{report[part][key]:.3f}" for part in STATISTICS)
            middle = middle if as_good(sign, report["ratios"][key], target) else f"**{middle}**"
            rows.append((f"`{key}`", what, f"{sign} {target:g}", middle, f"{low} to {high}"))
    ratios = tabulate(rows, ["key", "what", "target", "median", "min to max"], "pipe", disable_numparse=True)
    points = [
        (what, *(f"{point[key]:,}" for key in ("N", "K", "C")), f"{point['seconds']:.2f}", f"{point['megabytes']:.0f}")
        for what, several in report["scaling"].items()
        for point in several
        if what != "manifest"
    ]
    names = ["an epoch of hrrl against", "images N", "concepts K", "classes C", "seconds", "MB"]
    epochs = tabulate(points, names, "pipe", disable_numparse=True, colalign=["left"] + ["right"] * 5)
    lines = [ratios, "", "Bold: the target is missed.", "", epochs]
    if trees := report["scaling"].get("manifest"):
        files, seconds, megabytes = ([point[key] for point in trees] for key in ("files", "seconds", "megabytes"))
        slopes = [1e6 * (values[-1] - values[0]) / (files[-1] - files[0]) for values in (seconds, megabytes)]
        lines += [
            "",
            f"The manifest stage takes {seconds[-1]:.1f} s and {megabytes[-1]:.0f} MB for {files[-1]:,} small JPEG "
            f"files in ImageNet's layout: {slopes[0]:.0f} µs and {slopes[1]:.0f} bytes for each further file.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="the SVM with 5,000 examples instead of 50,000")
    parser.add_argument("--compare", action="store_true", help="with the committed file, which stays as it is")
    args = parser.parse_args()
    os.chdir(ROOT)
    old = json.loads(REPORT.read_text(encoding="utf-8"))
    report: dict = {part: {} for part in (*STATISTICS, "peak", "scaling", "cells")}
    for group in args.only:
        for part, content in measured(group, args.rounds, args.small).items():
            report[part] |= content
        if not args.compare:  # after each, so that a run that is stopped has what it measured
            merged = {part: old[part] | content for part, content in report.items()}
            write_json(REPORT, merged | {"settings": settings(args.rounds)})
    shown = compared(report, old)
    print(shown)
    if args.compare:
        sys.exit("WORSE" in shown)


if __name__ == "__main__":
    main()
