"""Decision regions, drawn as in figure 2 of MPL v4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from benchmarks.two_moons.networks import forward
from benchmarks.two_moons.points import draw
from benchmarks.two_moons.results import Store

PANELS = (
    ("Supervised", "without UDA/MPL off", "teacher"),
    ("Pseudo Labels", "without UDA/pseudo labels", "student"),
    ("MPL (cosine - baseline)", "without UDA/MPL baseline", "student"),
    ("UDA", "with UDA/MPL off", "teacher"),
    ("MPL off + UDA", "with UDA/MPL off", "student"),
    ("MPL (exact) + UDA", "with UDA/MPL exact", "student"),
)
"""Title, cell of the table and which of its two networks."""
ROWS = (("paper", "lr 0.1, init 0.1"), ("fast", "lr 0.5, init 1"))
REACH = 2.0
GRID = 201


def draw_figure(store: Store, path: Path, *, seed: int = 0) -> None:
    """One panel for each method, one row for each protocol that has finished.

    Args:
        store: finished cells.
        path: of the image.
        seed: whose points and networks; one of the first that are kept.
    """
    rows = [row for row in ROWS if all(f"{row[0]}/{panel[1]}" in store.cells for panel in PANELS)]
    if not rows:
        raise SystemExit("the figure needs the cells of fast/ or paper/; run them first")
    figure = Figure(figsize=(2.4 * len(PANELS), 2.1 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(PANELS), squeeze=False)
    for (protocol, subtitle), line in zip(rows, axes, strict=True):
        for (title, name, role), panel in zip(PANELS, line, strict=True):
            _regions(panel, store.cells[f"{protocol}/{name}"], role, seed)
            panel.set_title(title, fontsize=9)
        line[0].set_ylabel(subtitle, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _regions(panel: Axes, cell: dict[str, Any], role: str, seed: int) -> None:
    theta = torch.tensor(cell["weights"][seed][("teacher", "student").index(role)])
    side = torch.linspace(-REACH, REACH, GRID)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy")).flatten(1)  # [2, GRID^2]
    margin = forward(theta[None], grid[None]).margin.reshape(GRID, GRID)
    data = draw([cell["seeds"][seed]])
    colors: Sequence[Any] = [mpl.colormaps["tab10"](3), mpl.colormaps["tab10"](2)]
    panel.pcolormesh(
        side.numpy(), side.numpy(), margin.numpy() > 0, cmap=ListedColormap(colors), alpha=0.3, rasterized=True
    )
    (x, y), classes = data.everything.x[0].numpy(), data.everything.y[0].numpy()
    (stars_x, stars_y), known = data.labeled.x[0].numpy(), data.labeled.y[0].numpy()
    panel.scatter(x, y, c=classes, cmap=ListedColormap(colors), s=1, linewidths=0)
    panel.scatter(stars_x, stars_y, c=known, cmap=ListedColormap(colors), s=90, marker="*", edgecolors="black")
    panel.set(xticks=[], yticks=[], xlim=(-REACH, REACH), ylim=(-1.3, 1.3), aspect="equal")
    panel.set_xlabel(f"{100 * cell[role][seed]:.1f} % right", fontsize=8)
