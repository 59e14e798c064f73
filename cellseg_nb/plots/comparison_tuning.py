"""What tuning has tried: the score on the training volumes against the number that matters most."""

import matplotlib.pyplot as plt

from cellseg_nb.plots import basic

FIRST = ("cellprob_threshold", "prob_thresh", "threshold", "scale")  # of a table the first of these it has


def searches(tables):
    """One panel a method: its score against its threshold, one line a setting of what else was tried, with
    the best smallest size, after Suppl. Fig. S1a, d. ``tables``: {method: table of `tune`}."""
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, len(tables), figsize=(5.6 * len(tables), 4.2), squeeze=False)
        for ax, (name, table) in zip(axes[0], tables.items()):
            score = "f1" if "f1" in table else "dice"
            x = next((column for column in FIRST if column in table), table.columns[0])
            rest = [c for c in table if c not in (x, score, "fold", "min_size")]
            for words, part in table.groupby(rest, sort=False) if rest else [("", table)]:
                best = part.groupby(x)[score].max()
                told = ", ".join(f"{c} {v:g}" for c, v in zip(rest, words)) if rest else None
                ax.plot(best.index, best, "o-", markersize=5, label=told)
            ax.set(title=name, xlabel=x, ylabel=f"{score} on the training volumes", ylim=(-0.02, 1.02))
            ax.grid(alpha=0.3)
            if rest:
                ax.legend(frameon=False, fontsize=10)
    return figure
