"""Where the project stands, as ratios taken in one run: benchmarks/results.json, .md (a table) and .png.

    python -m benchmarks.run                    everything, as `make bench`; half an hour, most of it LinearSVC's
    python -m benchmarks.run --only axes cosine some groups; the other numbers of the file stay
    python -m benchmarks.run --compare          `make bench-compare`: measures, and compares with the file instead of
                                                writing it: a ratio that is worse by more than 10% is flagged (exit 1)
    python -m benchmarks.run --small --rounds 1 a trial: small SVM

Rounds are interleaved: each measures everything that is compared once, and yields one ratio. The file has the median,
the minimum and the maximum over the rounds. benchmarks/README.md has the numbers and what profiling found.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "benchmarks/results.json"

# What the ratio should be: at least, or at most.
TARGETS = {
    "erm_vs_reference_32px": (">=", 2.0),
    "erm_vs_reference_64px": (">=", 2.0),
    "erm_vs_reference_224px": (">=", 1.2),
    "photographs_files_vs_pil": (">=", 1.7),
    "photographs_packed_vs_pil": (">=", 3.0),
    "cl_over_erm": ("<=", 1.01),
    "el_over_erm": ("<=", 1.40),
    "hrrl_over_erm": ("<=", 1.42),
    "pgd3_over_el": (">=", 2.0),
    "wrm15_over_el": (">=", 8.0),
    "el_direction_cosine": (">=", 0.99),
    "features_vs_reference": (">=", 2.0),
    "svm_vs_reference": (">=", 8.0),
    "noop_repro_seconds": ("<=", 3.0),
    "repro_overhead": ("<=", 0.2),
    "live_curves": ("<=", 0.01),
}


def axes(args) -> dict:
    """Keys without a suffix are of ResNet-18 at 32 pixels and one thread (the default)."""
    from benchmarks.axes import costs

    values, peak = {}, {}
    for net, threads in (("32px", 1), ("64px", 1), ("quick", 1), ("32px", 2), ("64px", 2)):
        name = net if threads == 1 else f"{net}_{threads}threads"
        ratios, peak[name] = costs(args.rounds, net, threads, attacks=name == "32px")
        values |= {key if name == "32px" else f"{key}_{name}": ratio for key, ratio in ratios.items()}
    return {"values": values, "peak": peak}


def cosine(args) -> dict:
    from benchmarks.axes import direction_cosine
    from benchmarks.throughput import real_images

    values = {}
    for key, net, size in (("el_direction_cosine", "32px", 32), ("el_direction_cosine_quick", "quick", 28)):
        with tempfile.TemporaryDirectory() as work:
            values[key] = direction_cosine(max(args.rounds, 5), net, real_images(Path(work), size, per_class=2000))
    return {"values": values}


def accuracy(args) -> dict:
    """Of a short training in the default precision and layout, and in float32 and contiguous."""
    from benchmarks.axes import short_training
    from benchmarks.throughput import real_images

    values = {}
    with tempfile.TemporaryDirectory() as work:
        images = [real_images(Path(work), 28, per_class=1000, split=split) for split in ("train", "test")]
        for name, changes in (("default", {}), ("float32", {"precision": "float32", "channels_last": False})):
            runs = [short_training(*images, seed, Path(work, f"{name}-{seed}"), changes) for seed in range(args.rounds)]
            values[f"short_training_accuracy_{name}"] = runs
    return {"values": values}


def throughput(args) -> dict:
    from benchmarks.throughput import compare

    values = {}
    for size in (32, 64, 224):
        with tempfile.TemporaryDirectory() as work:
            values |= compare(args.rounds, size, Path(work))
    return {"values": values}


def photographs(args) -> dict:
    from benchmarks.photographs import compare

    return {"values": compare(args.rounds)}


def svm(args) -> dict:
    from benchmarks import svm

    result = svm.run(args.rounds, n=5_000 if args.small else 50_000)
    print(f"accuracy: hrrl {result['accuracy']:.2f}%, LinearSVC {result['reference_accuracy']:.2f}%", flush=True)
    return {"values": {"svm_vs_reference": result["ratio"]}}


def noop(args) -> dict:
    """`dvc repro` of a clone in which the smoke preset has run."""
    dvc = Path(sys.executable).parent / "dvc"
    with tempfile.TemporaryDirectory() as work:
        clone = Path(work, "clone")
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
        shutil.copy(clone / "presets/smoke.yaml", clone / "params.yaml")
        (clone / "dvc.lock").unlink(missing_ok=True)
        subprocess.run([dvc, "repro", "-q"], cwd=clone, check=True)
        seconds = []
        for _ in range(args.rounds):
            start = time.perf_counter()
            subprocess.run([dvc, "repro"], cwd=clone, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
    return {"values": {"noop_repro_seconds": seconds}}


def overhead(args) -> dict:
    """`make repro` of a fresh clone; one round, since it takes as long as the preset does."""
    from benchmarks.overhead import run

    return run("smoke" if args.small else "quick")


def live(args) -> dict:
    from benchmarks.live import cost

    return {"values": {"live_curves": [cost() for _ in range(args.rounds)]}}


def point(name: str, *arguments) -> dict:
    """Time and memory, measured by a module of benchmarks/ in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout
    return json.loads(output.splitlines()[-1])


def medians(runs: list[dict]) -> dict:
    return {key: round(median(run[key] for run in runs), 3) for key in runs[0]}


def scaling(args) -> dict:
    from benchmarks.scaling import POINTS

    points = [(name, sizes) for name, several in POINTS.items() for sizes in several]
    rounds = [[point("scaling", *sizes) for _, sizes in points] for _ in range(args.rounds)]
    measured = {name: [] for name in POINTS}
    for (name, sizes), runs in zip(points, zip(*rounds, strict=True), strict=True):
        measured[name].append(dict(zip(("N", "K", "C"), sizes, strict=True)) | medians(runs))
    return {"scaling": measured}


def manifest(args) -> dict:
    """The manifest stage on trees in ImageNet's layout."""
    from benchmarks.manifest import FILES, make_tree

    with tempfile.TemporaryDirectory() as work:
        for files in FILES:
            make_tree(Path(work, str(files)), files)
        rounds = [[point("manifest", Path(work, str(files))) for files in FILES] for _ in range(args.rounds)]
    measured = [{"files": files} | medians(runs) for files, runs in zip(FILES, zip(*rounds, strict=True), strict=True)]
    return {"scaling": {"manifest": measured}}


GROUPS = {
    f.__name__: f
    for f in (throughput, photographs, axes, cosine, accuracy, svm, noop, live, overhead, scaling, manifest)
}


def summary(results: list[dict]) -> dict:
    """The content of the report, from what the groups returned."""
    report = {"ratios": {}, "minimum": {}, "maximum": {}, "peak": {}, "scaling": {}, "cells": {}}
    for result in results:
        for key, values in result.get("values", {}).items():
            for name, function in (("ratios", median), ("minimum", min), ("maximum", max)):
                report[name][key] = round(function(values), 4)
        report["peak"] |= result.get("peak", {})
        report["scaling"] |= result.get("scaling", {})
        report["cells"] |= result.get("cells", {})
    return report


def settings(args) -> dict:
    import torch

    from benchmarks.axes import compute

    cores, processor = os.cpu_count(), "unknown"
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        processor = names[0] if names else processor
    images = "Tiny-ImageNet" if "HRRL_DATA" in os.environ else "Fashion-MNIST"
    machine = {"processor": processor, "cores": cores, "torch": torch.__version__, "images": images}
    return machine | {"rounds": args.rounds, "compute": compute().model_dump()}


def worse(key: str, new: float, old: float) -> bool:
    """By more than 10%, in the direction that the key should not go."""
    base = next((name for name in sorted(TARGETS, key=len, reverse=True) if key.startswith(name)), None)
    direction = TARGETS[base][0] if base else ">="
    return new > 1.1 * old if direction == "<=" else new < old / 1.1


def table(report: dict, old: dict | None) -> bool:
    """Prints the report, and says whether a ratio is worse than in ``old``."""
    regressed = False
    for key, value in report["ratios"].items():
        sign, target = TARGETS.get(key, ("", None))
        line = f"{key:34s} {value:8.3f}  [{report['minimum'][key]:.3f}, {report['maximum'][key]:.3f}]"
        if target is not None:
            met = value >= target if sign == ">=" else value <= target
            line += f"  target {sign} {target:g}: {'met' if met else 'missed'}"
        if old and key in old["ratios"]:
            bad = worse(key, value, old["ratios"][key])
            regressed |= bad
            line += f"  was {old['ratios'][key]:.3f}{'  WORSE' if bad else ''}"
        print(line)
    return regressed


MEANING = {
    "erm_vs_reference_32px": "images/s of erm over a plain PyTorch loop, ResNet-18, 32 pixels, 2 threads",
    "erm_vs_reference_64px": "the same at 64 pixels",
    "erm_vs_reference_224px": "the same at 224 pixels, from JPEG files of 256",
    "photographs_files_vs_pil": "224-pixel crops a second and core from JPEG files of 500 x 375, over PIL's",
    "photographs_packed_vs_pil": "the same, of the dataset packed by `make pack`",
    "cl_over_erm": "step time of cl over erm, 32 pixels, 1 thread",
    "el_over_erm": "step time of el over erm",
    "hrrl_over_erm": "step time of hrrl over erm",
    "pgd3_over_el": "step time of PGD with 3 steps, written plainly, over el",
    "wrm15_over_el": "step time of WRM with 15 steps, written plainly, over el",
    "el_direction_cosine": "cosine of the bfloat16 perturbation to the float32 one, on a trained net",
    "features_vs_reference": "images/s of feature extraction over a plain loop, 64 pixels",
    "svm_vs_reference": "time of plain LinearSVC calls over ours, 50,000 x 512, 10 classes, five C's",
    "noop_repro_seconds": "seconds of a `dvc repro` that has nothing to do",
    "repro_overhead": "share of `make repro` (quick preset, fresh clone, two jobs) neither training nor scoring",
    "live_curves": "time of curves for TensorBoard over an erm step of the quick preset",
}


def markdown(report: dict) -> str:
    """The ratios that have a target, as a table."""
    lines = ["| key | what | target | median | min to max |", "|---|---|---|---:|---:|"]
    for key, (sign, target) in TARGETS.items():
        if key in report["ratios"]:
            middle, low, high = (report[part][key] for part in ("ratios", "minimum", "maximum"))
            met = middle >= target if sign == ">=" else middle <= target
            middle = f"{middle:.3f}" if met else f"**{middle:.3f}**"
            lines.append(f"| `{key}` | {MEANING[key]} | {sign} {target:g} | {middle} | {low:.3f} to {high:.3f} |")
    lines += ["", "Bold: the target is missed."]
    if points := report["scaling"].get("manifest"):
        files, seconds, megabytes = ([point[key] for point in points] for key in ("files", "seconds", "megabytes"))
        slopes = [1e6 * (values[-1] - values[0]) / (files[-1] - files[0]) for values in (seconds, megabytes)]
        lines += [
            "",
            f"The manifest stage takes {seconds[-1]:.1f} s and {megabytes[-1]:.0f} MB for {files[-1]:,} small JPEG "
            f"files in ImageNet's layout: {slopes[0]:.0f} µs and {slopes[1]:.0f} bytes for each further file.",
        ]
    return "\n".join([*lines, ""])


def plot(report: dict, path: Path) -> None:
    """Ratios beside their targets, and time and memory against N, K and the number of classes."""
    import matplotlib.style

    with matplotlib.style.context({}, after_reset=True):  # whatever a matplotlibrc says
        _plot(report, path)


def _plot(report: dict, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(17, 4.5), width_ratios=[2, 1, 1, 1])
    keys = [key for key in TARGETS if key in report["ratios"]]
    for row, key in enumerate(reversed(keys)):
        sign, target = TARGETS[key]
        values = [report[name][key] for name in ("minimum", "ratios", "maximum")]
        low, middle, high = sorted(value / target if sign == ">=" else target / value for value in values)
        color = "#1b7837" if middle >= 1 else "#b2182b"
        panels[0].errorbar(middle, row, xerr=[[middle - low], [high - middle]], fmt="o", color=color)
    names = [f"{key}  ({TARGETS[key][0]} {TARGETS[key][1]:g})" for key in reversed(keys)]
    panels[0].set(xscale="log", title="Times better than the target", yticks=range(len(keys)), yticklabels=names)
    panels[0].set_xticks([0.5, 1, 2, 4, 8], labels=["0.5", "1", "2", "4", "8"])
    panels[0].minorticks_off()
    panels[0].axvline(1, color="grey", linewidth=1)
    for panel, (name, letter) in zip(panels[1:], (("images", "N"), ("concepts", "K"), ("classes", "C")), strict=True):
        points = report["scaling"].get(name)
        if not points:
            continue
        sizes = [point[letter] for point in points]
        panel.plot(sizes, [point["seconds"] for point in points], "o-", color="#2166ac")
        panel.set(title=f"hrrl, against {letter} ({name})", xlabel=letter, ylabel="seconds per epoch")
        panel.set_ylim(0, 1.3 * max(point["seconds"] for point in points))
        panel.set_xscale("linear" if letter == "N" else "log")
        memory = panel.twinx()
        memory.plot(sizes, [point["megabytes"] for point in points], "s--", color="#999999")
        memory.set(ylabel="MB (dashed)", ylim=(0, 1.15 * max(point["megabytes"] for point in points)))
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="the SVM with 5,000 examples instead of 50,000")
    parser.add_argument("--compare", action="store_true", help="with the committed file, which stays as it is")
    args = parser.parse_args()
    os.chdir(ROOT)
    old = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else None
    results = []
    for name in args.only:
        print(f"{name} ...", flush=True)
        results.append(GROUPS[name](args))
    report = summary(results)
    if args.compare:
        sys.exit(1 if table(report, old) else 0)
    table(report, None)
    for part in report:
        report[part] = (old or {}).get(part, {}) | report[part]
    write(REPORT, json.dumps(report | {"settings": settings(args)}, indent=1) + "\n")
    write(REPORT.with_suffix(".md"), markdown(report))
    plot(report, REPORT.with_suffix(".png"))


if __name__ == "__main__":
    main()
