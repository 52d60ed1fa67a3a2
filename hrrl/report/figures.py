"""The figures: what the paper's Figs. 2 to 5 show, the course of q, and an overview of the SVM's accuracy.

Each is drawn from the frames of :func:`hrrl.report.plots.plots`.
The same results give the same bytes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # a notebook's kernel exports its own, which this environment may lack

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from hrrl.report.claims import ENDPOINTS
from hrrl.report.results import Results

Frames = dict[str, Any]  # what is plotted, by name: frames, and the rows of the claims
Look = dict[str, dict[str, str]]  # colour and marker of each variant

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "figure.dpi": 160,
    "svg.hashsalt": "hrrl",  # else the ids in an SVG differ from run to run
}
WIDTH = 9.0  # inches
GLOBAL = {"backend", "backend_fallback", "interactive", "toolbar", "timezone"}  # of a program, not of a figure
READABLE = 40  # concepts; the names of more are left out

# Okabe and Ito's and Tol's colour-blind-safe sets: a hue for each pair of methods, a shade for each setting.
PAPER_HUES = {(): "#333333", ("gradient",): "#0072B2", ("hrrl",): "#009E73", ("gradient", "hrrl"): "#D55E00"}
OTHER_HUES = [
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#882255",
    "#999933",
    "#332288",
    "#8C6D5A",
    "#44AA99",
    "#7F7F7F",
]
CONCEPT_HUES = [*PAPER_HUES.values()][1:] + OTHER_HUES[:-2] + OTHER_HUES[-1:]
MARKERS = "osD^vPX<>*ph"
VERDICT_COLORS = {"holds": "#009E73", "fails": "#D55E00", "undecided": "#7F7F7F"}


@dataclass(frozen=True)
class Chart:
    """A figure: what draws it, of which data (there is none without), how to read it, what it shows."""

    draw: "Callable[[Results, Frames, Look], Figure | None]"
    data: str
    title: str
    reading: str
    alt: str


def figures(results: Results, decided: list[dict], data: Frames, folder: str | Path) -> list[str]:
    """Writes <folder>/<name>.svg of every figure that has data, and returns the names.

    Args:
        decided: what :func:`hrrl.report.claims.claims` gives.
        data: what :func:`hrrl.report.plots.plots` gives.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shown = {
        "training": results.compared,
        "q": results.adaptive(),
        "augmented": [*results.without("concept"), results.headline],
        "concepts": [*results.without("example"), results.headline],
    }
    data = data | {name: data[name][data[name].variant.isin(variants)] for name, variants in shown.items()}
    data["claims"] = [row for row in decided if row["primary"] and row["relation"] != "trend"]
    look, drawn = looks(results.variants), []
    with only_style(STYLE):
        for name, chart in CHARTS.items():
            figure = chart.draw(results, data, look) if len(data[chart.data]) else None
            if figure is not None:
                drawn.append(name)
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return drawn


@contextmanager
def only_style(style: dict[str, Any]) -> Iterator[None]:
    """Figures of matplotlib's defaults and a style inside, whatever a matplotlibrc or the caller has set.

    A matplotlibrc may ask for programs that are not there (``text.usetex``), and any of it changes a figure's bytes.
    """
    settings: Any = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in GLOBAL}
    with matplotlib.rc_context(settings | style):
        yield


def looks(variants: dict[str, dict]) -> dict[str, dict]:
    """variant -> {"color", "marker"}, the same in every figure, and in the figures' order.

    Variants with the same methods stand together, share a hue and get darker in the order of their settings.
    """
    families: dict[tuple[str, ...], list[str]] = {}
    for name, spec in variants.items():
        families.setdefault(_methods(spec), []).append(name)
    others = iter(OTHER_HUES * len(families))
    hues = {family: PAPER_HUES.get(family) or next(others) for family in families}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(variants)}
    return {
        name: {"color": shade, "marker": markers[name]}
        for family, names in families.items()
        for name, shade in zip(_by_settings(variants, names), _shades(hues[family], len(names)), strict=True)
    }


def _methods(spec: dict) -> tuple[str, ...]:
    return tuple(method for axis in ("example", "concept") for method in spec.get(axis) or {})


def _by_settings(variants: dict[str, dict], names: list[str]) -> list[str]:
    """Names in ascending order of the first numeric settings of their methods."""

    def settings(name: str) -> Any:
        points = (variants[name].get(axis) or {} for axis in ("example", "concept"))
        values = (v for point in points for method in point.values() for v in (method or {}).values())
        return tuple(v for v in values if isinstance(v, int | float))

    return sorted(names, key=settings)


def _shades(hue: str, n: int) -> list[str]:
    """n shades from light to dark with the hue itself in the middle."""
    rgb = np.array(to_rgb(hue))
    steps = np.linspace(-1, 1, n) * min(1, (n - 1) / 2)
    return [to_hex(rgb + 0.45 * abs(step) * ((1 - rgb) if step < 0 else -rgb)) for step in steps]


# --------------------------------------------------------------------------------------------------- helpers


def _panels(n: int, columns: int, height: float, width: float = WIDTH, **shared: Any) -> tuple[Figure, Any]:
    """A figure with n panels in rows of at most ``columns``; ``height`` is that of one row in inches."""
    columns = min(n, columns)
    rows = -(-n // columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def _shown(look: dict, frame: pd.DataFrame) -> list[str]:
    present = set(frame.variant)
    return [variant for variant in look if variant in present]


def _columns(n: int, narrow: bool = True) -> int:
    """How many of n panels stand side by side; four only where narrow ones do."""
    return 4 if narrow and n in (4, 7, 8, 11, 12) else 3


def _heading(label: str) -> str:
    """A label that fits above a narrow panel."""
    return fill(label, 24)


def _curves(
    axis: Axes, frame: pd.DataFrame, x: str, y: str, results: Results, look: Look, markers: bool = False
) -> None:
    """One line per variant; the band is one standard deviation over seeds on either side."""
    for variant in _shown(look, frame):
        rows, style = frame[frame.variant == variant].sort_values(x), look[variant]
        marker = style["marker"] if markers or len(rows) == 1 else None
        axis.plot(rows[x], rows[y], color=style["color"], marker=marker, label=results.labels[variant])
        _band(axis, rows, x, y, style["color"])


def _band(axis: Axes, rows: pd.DataFrame, x: str, y: str, color: str) -> None:
    std = rows["std"].fillna(0)
    if std.any():
        axis.fill_between(rows[x], rows[y] - std, rows[y] + std, color=color, alpha=0.15, linewidth=0)


def _legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend for the whole figure, below it."""
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)))


# --------------------------------------------------------------------------------------------------- figures


def _claims(results: Results, data: Frames, look: Look) -> Figure:
    """A row per claim: the difference with its interval, on the claimed side to the right."""
    rows = data["claims"]
    figure, (axis,) = _panels(1, 1, 0.9 + 0.34 * len(rows))
    for place, row in enumerate(rows):
        sign, color = ENDPOINTS[row["endpoint"]].sign, VERDICT_COLORS[row["verdict"]]
        if row["ci95"]:
            axis.plot([sign * bound for bound in row["ci95"]], [place] * 2, color=color, linewidth=3, alpha=0.55)
        if row["difference"] is not None:
            axis.plot([sign * row["difference"]], [place], "o", color=color)
        for tick in {"better": (0,), "no_worse": (-1,), "similar": (-1, 1)}[row["relation"]]:
            axis.plot([tick * (row["margin"] or 0)] * 2, [place - 0.35, place + 0.35], color="#333333", linewidth=1.4)
    pairs = [f"{results.labels[row['better']]} against {results.labels[row['compared']]}" for row in rows]
    where = [" ".join(filter(None, [row["endpoint"].replace("_", " "), row["target"]])) for row in rows]
    axis.set_yticks(
        range(len(rows)), [f"{pair}\n{place}" for pair, place in zip(pairs, where, strict=True)], fontsize=7.5
    )
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference in points; the claimed side is on the right")
    axis.grid(axis="y", visible=False)
    return figure


def _svm(results: Results, data: Frames, look: Look) -> Figure:
    """Per target, one row per variant: seeds as dots, their mean as a bar, the paper's mean as a diamond."""
    targets = [target for target in results.targets if (data["svm"].target == target).any()]
    variants = _shown(look, data["svm"])
    height = 0.9 + 0.3 * len(variants)
    figure, axes = _panels(len(targets), _columns(len(targets)), height, sharey=True)
    for axis, target in zip(axes, targets, strict=True):
        means = data["svm"][data["svm"].target == target].set_index("variant").accuracy
        runs = results.scores[results.scores.target == target]
        for row, variant in enumerate(variants):
            _dots(
                axis,
                row,
                runs.accuracy[runs.variant == variant],
                look[variant],
                results.paper(target, variant),
            )
        if results.baseline in means:
            axis.axvline(means[results.baseline], color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axis.set(title=target, xlabel="accuracy (%)", ylim=(len(variants) - 0.5, -0.5))
        axis.margins(x=0.12)
        axis.locator_params(axis="x", nbins=4)
        axis.set_yticks(range(len(variants)), [results.labels[v] for v in variants])
        axis.grid(axis="y", visible=False)
    return figure


def _dots(axis: Axes, row: int, values: Any, style: dict[str, Any], paper: Any) -> None:
    if len(values):
        axis.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=style["color"], linewidth=3)
        axis.scatter(values, [row] * len(values), color=style["color"], s=26, alpha=0.55, linewidths=0)
    if paper:
        axis.scatter([paper[0]], [row], marker="D", s=30, facecolors="none", edgecolors="#333333", linewidths=1)


def _search(results: Results, data: Frames, look: Look) -> Figure | None:
    """A panel for each axis alone, and a map of the points with both; differences to ERM at the same tuning seeds."""
    table = data["search"].copy()
    values = ["mean", "benchmark", *(f"accuracy_{target}" for target in results.targets)]
    erm = table[table.family == "erm"]
    table[values] -= erm[values].iloc[0] if len(erm) else 0.0
    draw = {"el": _search_line, "cl": _search_line, "hrrl": _search_map}
    families = [family for family in draw if (table.family == family).any()]
    if not families:
        return None
    figure, axes = _panels(len(families), 3, 3.3)
    for axis, family in zip(axes, families, strict=True):
        draw[family](axis, table[table.family == family], results)
        axis.set_title({"el": "EL", "cl": "CL", "hrrl": "HRRL, mean over targets"}[family])
    axes[0].set_ylabel("accuracy − that of ERM (points)" if len(erm) else "accuracy (%)")
    if families[0] != "hrrl":
        _legend(figure, axes[0], columns=6)
    return figure


def _search_line(axis: Axes, rows: pd.DataFrame, results: Results) -> None:
    over = "tau" if rows.lam.isna().all() else "lam"
    ticks = range(len(rows))
    for target, color in zip(results.targets, CONCEPT_HUES * len(results.targets), strict=False):
        axis.plot(ticks, rows[f"accuracy_{target}"], color=color, linewidth=1.2, marker="o", markersize=3, label=target)
    axis.plot(ticks, rows["mean"], color="#333333", linewidth=2.6, marker="o", label="mean over targets")
    axis.plot(ticks, rows.benchmark, color="#8a8a8a", linestyle=(0, (4, 3)), linewidth=1.2, label="benchmark")
    chosen = int(np.flatnonzero(rows.chosen)[0])
    axis.plot([chosen], [rows["mean"].iloc[chosen]], "o", markersize=13, markerfacecolor="none", color="#333333")
    axis.axhline(0, color="#999999", linewidth=0.8)
    axis.set_xticks(ticks, [f"{value:g}" for value in rows[over]])
    axis.set_xlabel({"tau": "τ", "lam": "λ"}[over])


def _search_map(axis: Axes, rows: pd.DataFrame, results: Results) -> None:
    grid = rows.pivot(index="tau", columns="lam", values="mean")
    axis.imshow(grid, cmap="viridis", aspect="auto", origin="lower")
    middle = (grid.max(axis=None) + grid.min(axis=None)) / 2
    chosen = rows[rows.chosen].iloc[0]
    for i, tau in enumerate(grid.index):
        for j, lam in enumerate(grid.columns):
            if (value := grid.iloc[i, j]) == value:
                box = {"boxstyle": "round", "fill": False, "edgecolor": "#D55E00", "lw": 2}
                best: dict[str, Any] = {"weight": "bold", "bbox": box}
                mark = best if (tau, lam) == (chosen.tau, chosen.lam) else {}
                color = "#1c1c1e" if value > middle else "#ffffff"
                axis.text(j, i, f"{value:+.1f}", ha="center", va="center", color=color, **mark)
    axis.set_yticks(range(len(grid.index)), [f"{value:g}" for value in grid.index])
    axis.set_xticks(range(len(grid.columns)), [f"{value:g}" for value in grid.columns])
    axis.set(xlabel="λ", ylabel="τ")
    axis.grid(visible=False)


def _h(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 2: the curves of the given mu, and dashed those of the mu that the runs had; where h(s) is positive."""
    figure, (axis,) = _panels(1, 1, 4.2, width=7)
    given, shades = data["h"][data["h"].variant.isna()], matplotlib.colormaps["viridis"]
    mus = sorted(set(given.mu))
    for mu, color in zip(mus, shades(np.linspace(0.75, 0.1, len(mus))), strict=True):
        rows = given[given.mu == mu].sort_values("s")
        best = results.maxima[results.maxima.mu == mu].iloc[0]
        axis.plot(rows.s, rows.h.where(rows.h > 0), color=color, label=f"μ = {mu:g}: s = {best.s:,.0f}")
        axis.plot(best.s, best.h, "o", color=color)
    for variant in _shown(look, data["h"]):
        rows = data["h"][data["h"].variant == variant].sort_values("s")
        best = results.suggestions.set_index("variant").suggested_s[variant]
        label = f"{rows.series.iloc[0]}: " + (f"s = {best:,.0f}" if best > 0 else "h < 0")
        axis.plot(rows.s, rows.h.where(rows.h > 0), color=look[variant]["color"], linestyle="--", label=label)
    _steps_in_use(axis, results)
    axis.set(xscale="log", yscale="log", xlabel="s (steps of q with the small learning rate)", ylabel="h(s)")
    axis.set_ylim(0.1, 2 * max(data["h"].h.max(), 1))
    _legend(figure, axis, columns=3)
    return figure


def _steps_in_use(axis: Axes, results: Results) -> None:
    for s in sorted({s for s in results.suggestions.s if s >= 1}):
        axis.axvline(s, color="#D55E00", linewidth=1.2, linestyle=(0, (4, 3)), zorder=1.5, label=f"in use: s = {s:g}")


def _regret(results: Results, data: Frames, look: Look) -> Figure:
    """q's mean regret with its bound, in use and with c = 1: a panel per variant."""
    frame = data["regret"]
    variants = _shown(look, frame)
    figure, axes = _panels(len(variants), _columns(len(variants)), 2.8, sharey=True)
    for axis, variant in zip(axes, variants, strict=True):
        rows = frame[frame.variant == variant]
        for (c, s), course in rows.groupby(["c", "s"], sort=False):
            color = look[variant]["color"] if (c, s) == tuple(rows[["c", "s"]].iloc[0]) else "#999999"
            text = f"c = {c:g}" + (f", s = {s:g}" if s else "")
            axis.plot(course.steps, course.regret.where(course.regret > 0), color=color, label=text)
            axis.plot(course.steps, course.bound, color=color, linestyle=":", linewidth=1.4, label="its bound")
        axis.set(xscale="log", yscale="log", xlabel="steps T")
        axis.set_title(_heading(results.labels[variant]), color=look[variant]["color"])
        axis.legend(fontsize=7, loc="lower left")
        axis.tick_params(labelleft=True)
    axes[0].set_ylabel("mean regret of q")
    return figure


def _training(results: Results, data: Frames, look: Look) -> Figure:
    """Loss and validation accuracy of the compared variants by epoch."""
    frame = data["training"]
    figure, axes = _panels(2, 2, 3.2)
    titles = {"train_loss": "training loss, of the images trained on", "val_accuracy": "validation accuracy (%)"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        _curves(axis, frame.assign(std=0.0), "epoch", column, results, look)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, axes[0])
    return figure


def _finetune(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 3."""
    frame = data["fine_tuning"]
    targets = [target for target in results.targets if (frame.target == target).any()]
    figure, axes = _panels(len(targets), _columns(len(targets)), 3.0)
    for axis, target in zip(axes, targets, strict=True):
        _curves(axis, frame[frame.target == target], "step", "test_error", results, look)
        low, high = axis.get_ylim()
        axis.set(title=target, xlabel="step", ylabel="test error (%)", ylim=(max(low, 0), min(high, 100)))
        axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, axes[0])
    return figure


def _augmented(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 4."""
    searched = data["augmented_search"]
    figure, axes = _panels(1, 1, 4.0, width=7) if not len(searched) else _panels(2, 2, 4.0, sharey=True)
    _curves(axes[0], data["augmented"], "step_size", "accuracy", results, look, markers=True)
    for axis in axes:
        axis.set(xlabel="step size (L2, pixel units)", ylabel="accuracy (%)")
    _legend(figure, axes[0])
    if len(searched):
        axes[0].set_title("Results")
        _sweep(axes[1], searched, "step_size", "accuracy", "Search over τ, on tuning seeds")
    return figure


def _sweep(axis: Axes, frame: pd.DataFrame, x: str, y: str, title: str) -> None:
    """One line for each value that the search tried on one axis, darker the larger it is; ERM in black."""
    names = list(frame.series.unique())
    for name, color in zip(names, ["#333333", *_ramp(len(names) - 1)], strict=True):
        rows = frame[frame.series == name]
        axis.plot(rows[x], rows[y], color=color, marker="o", markersize=4, label=name)
    axis.set_title(title)
    axis.legend(fontsize=7)


def _ramp(n: int) -> list:
    """n colours from light to dark."""
    return list(matplotlib.colormaps["viridis"](np.linspace(0.9, 0.1, n)))


def _concepts(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 5: a panel per variant, its concepts in ascending order; the baseline's in grey behind."""
    frame = data["concepts"]
    variants = _shown(look, frame)
    base = frame[frame.variant == results.baseline]
    concepts, narrow = frame.concept.nunique(), frame.concept.str.len().max() <= 10
    searched = data["concepts_search"]
    panels = len(variants) + bool(len(searched))
    figure, axes = _panels(panels, _columns(panels, narrow), 1.1 + 0.22 * min(concepts, READABLE), sharex=True)
    if len(searched):
        _sweep(axes[-1], searched, "accuracy", "rank", "Search over λ\n")
        axes[-1].set(ylim=(concepts + 0.5, 0.5), ylabel="rank of the concept")
    for axis, variant in zip(axes, variants, strict=False):
        rows, color = frame[frame.variant == variant], look[variant]["color"]
        if variant != results.baseline:
            axis.plot(base.accuracy, base["rank"], "o-", color="#bbbbbb", linewidth=1.2, markersize=4)
        axis.errorbar(rows.accuracy, rows["rank"], xerr=rows["std"].fillna(0), fmt="o-", color=color, elinewidth=1)
        if concepts <= READABLE:
            axis.set_yticks(rows["rank"], rows.concept)
        gap = rows.accuracy.max() - rows.accuracy.min()
        axis.set_title(f"{_heading(results.labels[variant])}\n", color=color)
        note = f"worst {rows.accuracy.min():.1f} %, gap {gap:.1f}"
        axis.annotate(note, (0, 1), (0, 4), "axes fraction", "offset points", color="#555555")
        axis.set_ylim(concepts + 0.5, 0.5)
        axis.tick_params(labelbottom=True)
    figure.supxlabel("accuracy (%)", fontsize=9)
    return figure


def _q(results: Results, data: Frames, look: Look) -> Figure:
    """The course of q: a panel per variant that weights concepts."""
    frame, names = data["q"], results.concept_names
    variants = _shown(look, frame)
    figure, axes = _panels(len(variants), _columns(len(variants)), 2.8, sharey=True)
    share = results.concepts.set_index("concept").q0
    for axis, variant in zip(axes, variants, strict=True):
        for k, concept in enumerate(names):
            rows = frame[(frame.variant == variant) & (frame.concept == concept)].sort_values("epoch")
            color, dash = CONCEPT_HUES[k % len(CONCEPT_HUES)], ["-", "--", "-."][k // len(CONCEPT_HUES) % 3]
            marker = "o" if len(rows) == 1 else None
            axis.plot(rows.epoch, rows.q, color=color, linestyle=dash, marker=marker, label=concept)
            axis.axhline(share[concept], color=color, linewidth=0.9, linestyle=":")
            _band(axis, rows, "epoch", "q", color)
        axis.set(xlabel="epoch", ylabel="q", ylim=(0, None))
        axis.set_title(_heading(results.labels[variant]), color=look[variant]["color"])
        axis.xaxis.get_major_locator().set_params(integer=True)
    if len(names) <= READABLE:
        _legend(figure, axes[0], columns=6)
    return figure


CHARTS = {
    "claims": Chart(
        _claims,
        "claims",
        "What the run decides",
        "Dots are differences, bars their 95% intervals: green where a claim holds, that is where the whole bar is "
        "right of the tick, or between two ticks; orange where it fails, grey where the run leaves it undecided.",
        "Dot plot with a row for each claim; the table above has the numbers.",
    ),
    "svm_accuracy": Chart(
        _svm,
        "svm",
        "Accuracy of the linear SVM on each target",
        "Dots are single seeds, the bar is their mean, the dashed line the mean of the baseline; right of "
        "the line is better. Open diamonds, where there are any, are the paper's means.",
        "Dot plot with a panel for each target and a row for each method; the table above has the numbers.",
    ),
    "training": Chart(
        _training,
        "training",
        "Pretraining",
        "Means over seeds. EL and HRRL train on moved images, and CL weights them: their losses are of other images or "
        "means than ERM's; the accuracy is on the same clean images for all.",
        "Line charts of the training loss and of the validation accuracy by epoch, a line for each method.",
    ),
    "search": Chart(
        _search,
        "search",
        "Search for τ and λ",
        "Accuracy cross-validated on the targets' training parts, less that of ERM, on tuning seeds that no other "
        "result uses. Rings and the frame mark the best mean over targets; dashed is the accuracy on the benchmark.",
        "Line charts of accuracy against τ and against λ with a line for each target, and a heat map over both.",
    ),
    "fig2_h": Chart(
        _h,
        "h",
        "Fig. 2: h(s) for several μ, with λ = 1, and for the μ of these runs",
        "The legend gives the number s of slow steps that gains most in Theorem 3 (β = h²): the larger μ, the longer "
        "the slow start that pays; where h(s) < 0, none does. Dashed curves have the μ of the first steps of a run, "
        "and its λ. The vertical line is the s in use.",
        "Curves of h(s) against s on logarithmic axes, one for each μ, that rise to one maximum and fall again.",
    ),
    "regret": Chart(
        _regret,
        "regret",
        "Mean regret of q after T steps, with the bound of Theorem 3",
        "How much more the best fixed distribution would have gained per step than q did, on the losses of the run; "
        "lower is better. Grey: the plain learning rate (c = 1), replayed on the same losses. Dotted: the bound, "
        "with the largest norm that q's gradient had on that course as μ.",
        "Curves on logarithmic axes that fall with the number of steps, and their bounds above them.",
    ),
    "fig3_finetuning": Chart(
        _finetune,
        "fine_tuning",
        "Fig. 3: test error while fine-tuning on each target",
        "All are fine-tuned with plain ERM, so that lines differ by the pretraining alone; lower is better. "
        "The band is one standard deviation over seeds on either side.",
        "Line chart with a panel for each target and a line for each pretrained model.",
    ),
    "fig4_augmented_accuracy": Chart(
        _augmented,
        "augmented",
        "Fig. 4: accuracy on augmented validation images",
        "Each model attacks its own validation images with a step of the given length along the loss "
        "gradient; at 0 they are as they are. The flatter the line, the more robust the model is to changes "
        "of the examples. Right, where there was a search: its models with the example axis alone.",
        "Line chart of accuracy against step size, with a line for each model.",
    ),
    "fig5_concept_accuracy": Chart(
        _concepts,
        "concepts",
        "Fig. 5: accuracy of each concept, in ascending order",
        "The worst concept is on top; grey is the baseline, in its own order. The steeper the line, the "
        "better accuracy is balanced between concepts. Error bars are one standard deviation over seeds. The last "
        "panel, where there was a search, has its models with the concept axis alone.",
        "Dot plot with a panel for each model and a row for each concept; the table below has the numbers.",
    ),
    "q": Chart(
        _q,
        "q",
        "Course of q, the adversarial distribution over concepts",
        "A line above its dotted one, which is the concept's share of the training images, means that the "
        "concept is weighted up because its loss is high. The smaller λ, the further q may move.",
        "Line chart of q against epochs, with a panel for each model and a line for each concept.",
    ),
}
