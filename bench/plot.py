"""A small SVG for the README: answers a second over requests in flight."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from bench.measuring import FLOOR, RELAY
from bench.results import Results, per_second

# Readable on white and on GitHub's dark grey alike; the background stays clear.
GREY, BLUE = "#808890", "#2f81f7"
PEER_COLOURS = ("#d29922", "#3fb950", "#db61a2", "#a371f7", "#f0883e")


def draw(results: Results, path: Path) -> None:
    """Write the plot."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(6.4, 3.4))
    peers = iter(PEER_COLOURS)
    for name in results.contestants():
        is_peer = name not in (RELAY, FLOOR)
        colour = next(peers) if is_peer else BLUE if name == RELAY else GREY
        _line(axes, results, name, colour)
    _dress(axes)
    figure.tight_layout()
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)


def _line(axes: Any, results: Results, name: str, colour: str) -> None:
    cells = [one for one in results.cells() if one.scenario == "ticks" and one.gateways == 1]
    points = [(cell.in_flight, results.median(name, cell, per_second)) for cell in cells]
    known = [(x, y) for x, y in points if y is not None]
    if not known:
        return
    style = {"linestyle": "--"} if name == FLOOR else {}
    width = 2.4 if name == RELAY else 1.3
    label = {RELAY: "mt5relay", FLOOR: "bare echo"}.get(name, name)
    axes.plot(*zip(*known, strict=True), color=colour, linewidth=width, marker="o", markersize=3,
              label=label, **style)  # fmt: skip


def _dress(axes: Any) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([1, 16, 128, 1024], ["1", "16", "128", "1024"])
    axes.set_xlabel("requests in flight", color=GREY)
    axes.set_ylabel("answers a second", color=GREY)
    axes.tick_params(colors=GREY, which="both")
    axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.5)
    for side, spine in axes.spines.items():
        spine.set_color(GREY)
        spine.set_visible(side in ("left", "bottom"))
    axes.legend(frameon=False, labelcolor=GREY, fontsize=8, ncols=2)
