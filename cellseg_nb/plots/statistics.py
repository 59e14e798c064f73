"""Figures of a comparison; they need no colour to be read."""

import matplotlib.pyplot as plt
import numpy as np
import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import tables
from cellseg_nb.plots.basic import BLUE, ORANGE, STYLE


def heatmap(posthoc, title="Which pairs differ? p-values (Conover-Iman, Holm)"):
    """A square table of p-values: darker is smaller, p in each cell, bold and starred under 0.05.

    The `sign_plot` of scikit-posthocs has the steps in colours, and no numbers.
    """
    p, names = posthoc.to_numpy(), [str(name) for name in posthoc.index]
    shade = np.digitize(-p, [-0.05, -0.01, -0.001], right=True) / 3  # 0 for p >= 0.05, 1 for p < 0.001
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(0.95 * len(names) + 2.8, 0.62 * len(names) + 2.4))
        ax.imshow(shade, cmap="Greys", vmin=0, vmax=1.35, aspect="auto")
        for i, j in np.ndindex(p.shape):
            if i == j:
                ax.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="///", ec="0.7", lw=0))
                continue
            small = p[i, j] < 0.05
            text = "<0.001*" if p[i, j] < 0.001 else f"{p[i, j]:.3f}" + ("*" if small else "")
            ax.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize=11.5,
                color="white" if shade[i, j] == 1 else "black",
                fontweight="bold" if small else "normal",
            )
        ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
        ax.set_xticks(np.arange(0.5, len(names) - 1), minor=True)
        ax.set_yticks(np.arange(0.5, len(names) - 1), minor=True)
        ax.grid(which="minor", color="0.6", linewidth=0.8)
        ax.tick_params(which="both", length=0)
        ax.set_title(f"{title}\n* p < 0.05;  grey steps at 0.05, 0.01, 0.001")
    return figure


def boxes(table, value, group):
    """One box a group, highest median first, every value as a dot."""
    rows = tables.clean(table, value, group)
    names = rows.groupby("group").value.median().sort_values(ascending=False).index
    parts = [rows.value[rows.group == name].to_numpy() for name in names]
    rng = np.random.default_rng(0)
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(max(5, 1.1 * len(names) + 1.5), 4.6))
        ax.boxplot(
            parts,
            widths=0.6,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": "#D6E6F2", "edgecolor": BLUE},
            medianprops={"color": "black", "lw": 2},
        )
        for i, part in enumerate(parts, 1):
            across = i + rng.uniform(-0.16, 0.16, len(part))
            ax.plot(across, part, "o", color=ORANGE, mec="black", markersize=5)
        ax.set_xticks(
            range(1, len(names) + 1),
            [f"{name} ({len(part)})" for name, part in zip(names, parts)],
            rotation=25,
            ha="right",
            rotation_mode="anchor",
        )
        ax.set(ylabel=value, title=f"{value} of each {group} (number of values); black line: median")
    return figure


def forest(effects, group):
    """Cliff's delta of one group against each other, with its interval; filled dots where p < 0.05.

    ``effects`` is that of `statistics.compare`. Raises UserError when the group is not in it.
    """
    turned = effects[effects.b == group].rename(
        columns={"a": "b", "b": "a", "delta_low": "delta_high", "delta_high": "delta_low"}
    )
    turned = turned.assign(**{name: -turned[name] for name in ("delta", "delta_low", "delta_high")})
    rows = pandas.concat([effects[effects.a == group], turned]).sort_values("delta", kind="stable")
    if rows.empty:
        raise UserError(f"there is no group {group!r} in this table of effects")
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.6))
        for i, row in enumerate(rows.itertuples()):
            ax.plot([row.delta_low, row.delta_high], [i, i], color=BLUE, linewidth=2)
            ax.plot(row.delta, i, "o", markersize=9, color=BLUE, mfc=BLUE if row.p < 0.05 else "white")
        ax.axvline(0, color="black", linewidth=1)
        ax.set_yticks(range(len(rows)), rows.b.map(str))
        ax.set(
            xlim=(-1.05, 1.05),
            ylim=(-0.6, len(rows) - 0.4),
            title=f"How far is {group} from the others?",
            xlabel=f"← {group} is lower        Cliff's delta        {group} is higher →",
        )
    return figure


def residuals(mixed):
    """Two looks at the residuals of `statistics.mixed`: against a normal distribution, and their spread by
    group."""
    import scipy.stats

    rest = mixed.residuals.residual
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 4.4))
        (expected, found), (slope, start, _) = scipy.stats.probplot(rest)
        axes[0].plot(expected, found, "o", color=ORANGE, mec="black", markersize=5)
        axes[0].plot(expected, slope * expected + start, color="black")
        axes[0].set(
            xlabel="expected of a normal distribution", ylabel="residual", title="Dots should follow the line"
        )
        names = list(mixed.residuals.group.unique())
        for i, name in enumerate(names):
            part = rest[mixed.residuals.group == name]
            axes[1].plot(np.full(len(part), i), part, "o", color=BLUE, alpha=0.6)
        axes[1].axhline(0, color="black", linewidth=1)
        axes[1].set_xticks(
            range(len(names)), map(str, names), rotation=25, ha="right", rotation_mode="anchor"
        )
        axes[1].set(ylabel="residual", title="Columns should be equally tall")
    return figure
