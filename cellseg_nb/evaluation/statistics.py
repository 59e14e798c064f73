"""Do the methods differ, which from which, and by how much: the paper's tests, and two that fit its design
better.

Kruskal & Wallis 1952; Conover & Iman 1979 with Holm 1979; Friedman 1937; Cliff 1993. The tests themselves are
SciPy's, scikit-posthocs' and statsmodels'; this module checks the table first and puts the answers into
words."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import tables
from cellseg_nb.io.files import writable_folder, write_json, write_table

Kruskal = namedtuple("Kruskal", "H p n epsilon_squared")
Friedman = namedtuple("Friedman", "statistic p groups blocks kendall_w")
Mixed = namedtuple("Mixed", "differences block_sd residual_sd residuals warnings")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. ``summary()`` says it in words, ``save(folder)`` writes it."""

    value: str
    group: str
    kruskal: Kruskal  # H, p, n = {group: number of values}, epsilon_squared = H / (N - 1)
    posthoc: pandas.DataFrame  # groups x groups, p after Holm, 1 on the diagonal
    effects: pandas.DataFrame  # one row a pair of groups
    groups: pandas.DataFrame  # one row a group: n, mean, sd, median, mean_rank

    def summary(self):
        """The result in one or two sentences for people."""
        n = list(self.kruskal.n.values())
        test = f"Kruskal-Wallis H = {self.kruskal.H:.4g}, p = {self.kruskal.p:.2g}, {sum(n)} values"
        small = " Groups under 5 values make this p rough." if min(n) < 5 else ""
        if self.kruskal.p >= 0.05:
            return (
                f"No difference in {self.value} can be shown between the {len(n)} groups of {self.group} "
                f"({test}). That is no proof that they are equal.{small}"
            )
        top = self.groups.mean_rank.idxmax()
        others = self.posthoc[top].drop(top)
        below, near = others.index[others < 0.05], others.index[others >= 0.05]
        words = (
            f"The {len(n)} groups of {self.group} differ in {self.value} by more than chance explains "
            f"({test}). {top} ranks highest (median {self.groups['median'][top]:.3g})"
        )
        if len(below):
            words += f"; clearly below it (Conover-Iman, Holm, p < 0.05): {', '.join(map(str, below))}"
        if len(near):
            words += f"; not told apart from it: {', '.join(map(str, near))}"
        return words + "." + small

    def save(self, folder):
        """Write kruskal.json, posthoc.csv, effects.csv and groups.csv. Returns the folder."""
        folder = writable_folder(folder)
        n = {str(name): int(count) for name, count in self.kruskal.n.items()}
        write_json(
            folder / "kruskal.json",
            {
                **self.kruskal._asdict(),
                "n": n,
                "value": self.value,
                "group": self.group,
                "summary": self.summary(),
            },
        )
        write_table(folder / "posthoc.csv", self.posthoc, index=True)
        write_table(folder / "effects.csv", self.effects)
        write_table(folder / "groups.csv", self.groups, index=True)
        return folder


def compare(table, value, group, seed=0, resamples=2000, unit="rows"):
    """Kruskal-Wallis test over all groups; Conover-Iman test with Holm correction and effect sizes for each
    pair.

    Both tests take the rows for independent of each other; see `friedman` and `mixed` for rows that belong
    together.

    Parameters
    ----------
    table : pandas table, one row a measurement
    value, group : names of its columns; ``value`` holds numbers
    unit : what one sample is, see `tables.units`: repeats within it are averaged before any test
    seed, resamples : of the bootstrap behind the intervals of the effect sizes

    Returns a `Comparison`, groups in order of first appearance. Its ``effects`` have, for each pair (a, b):
    ``difference`` of the medians, a minus b; ``delta``, Cliff's: how much more often a value of a is above
    one of b than below it (1: always, 0: as often, -1: never); ``..._low`` and ``..._high``, 95 % bootstrap
    intervals (percentiles, rows drawn anew within each group; too narrow for groups under about 10 values,
    and of no width where two groups do not overlap at all); ``p``, as in ``posthoc``.

    Raises UserError for a missing column; text, empty or infinite values; fewer than two groups; a group of
    one value; values that are all equal, or equal within each group."""
    import scikit_posthocs
    import scipy.stats

    table = tables.averaged(table, value, group, unit)
    rows = tables.clean(table, value, group)
    parts = {name: part.to_numpy() for name, part in rows.groupby("group", sort=False).value}
    _check_groups(parts, tables.source(table), value, group)
    H, p = map(float, scipy.stats.kruskal(*parts.values()))
    posthoc = scikit_posthocs.posthoc_conover(rows, "value", "group", p_adjust="holm", sort=False)
    groups = rows.groupby("group", sort=False).value.agg(n="size", mean="mean", sd="std", median="median")
    groups["mean_rank"] = rows.value.rank().groupby(rows.group, sort=False).mean()
    kruskal = Kruskal(H, p, groups.n.to_dict(), H / (len(rows) - 1))
    effects = _effects(parts, posthoc, seed, resamples)
    return Comparison(value, group, kruskal, posthoc, effects, groups.rename_axis(group))


def _check_groups(parts, source, value, group):
    if len(parts) < 2:
        raise UserError(
            f"{source}: column {group!r} has only the group {next(iter(parts))!r}: two or more are needed"
        )
    alone = [name for name, part in parts.items() if len(part) < 2]
    if alone:
        raise UserError(
            f"{source}: group {alone[0]!r} of {group!r} has a single value of {value!r}: "
            "each needs two or more; leave that group out or measure it again"
        )
    if all(len(np.unique(part)) == 1 for part in parts.values()):
        raise UserError(
            f"{source}: within each group of {group!r} all values of {value!r} are equal: "
            "without any scatter there is nothing to test against; were the same rows copied?"
        )


def friedman(table, value, group, block):
    """Friedman's test: do groups differ when compared within blocks, such as the folds all methods were
    tested on?

    ``block`` is a column, or a list of columns that make the blocks together. Needs three groups and two
    blocks or more, with exactly one value for each pair of group and block. Returns statistic, p, the numbers
    of groups and blocks, and Kendall's W (1: all blocks rank the groups alike, 0: no common order). Raises
    UserError for a table that is not so."""
    import scipy.stats

    rows, source = tables.clean(table, value, group, block), tables.source(table)
    counts = pandas.crosstab(rows.block, rows.group)
    wrong = np.argwhere(counts.to_numpy() != 1)
    if len(wrong):
        b, g = wrong[0]
        raise UserError(
            f"{source}: group {counts.columns[g]!r} has {counts.iloc[b, g]} values in block "
            f"{counts.index[b]!r}; the Friedman test needs exactly one in each: average repeats, "
            "leave out what is incomplete"
        )
    blocks, groups = counts.shape
    if groups < 3 or blocks < 2:
        raise UserError(
            f"{source}: the Friedman test needs 3 groups and 2 blocks or more, not {groups} and {blocks}"
        )
    wide = rows.pivot(index="block", columns="group", values="value")
    if (wide.nunique(axis=1) == 1).all():
        raise UserError(
            f"{source}: within each block all groups have the same {value!r}: there is nothing to rank"
        )
    statistic, p = map(float, scipy.stats.friedmanchisquare(*wide.to_numpy().T))
    return Friedman(statistic, p, groups, blocks, statistic / (blocks * (groups - 1)))


def mixed(table, value, group, block, reference=None):
    """Linear mixed model: each group has its mean, each block (a column, or a list of them) its own random
    shift.

    Assumes that shifts and residuals are normal with one spread for all groups, and that the blocks are a
    random sample of those one cares about. Unlike `friedman`, it takes several or no values for a pair of
    group and block. Fitted by REML (statsmodels MixedLM); p and intervals are Wald's: too optimistic for
    under about 10 blocks.

    Returns a table of differences (group minus ``reference``, by default the group with the highest mean; low
    and high: 95 % interval; p not corrected for several comparisons), the standard deviation between blocks
    and of the rest, a table of residuals (fitted, residual, group), and the warnings of the fit. Raises
    UserError for bad tables, as `compare`, and when the fit fails."""
    import warnings

    from statsmodels.regression.mixed_linear_model import MixedLM

    rows, source = tables.clean(table, value, group, block), tables.source(table)
    names, blocks = list(rows.group.unique()), rows.block.nunique()
    reference = rows.groupby("group").value.mean().idxmax() if reference is None else reference
    if reference not in names:
        raise UserError(f"reference {reference!r} is no {group}: choose one of {', '.join(map(str, names))}")
    if len(names) < 2 or blocks < 2 or len(rows) <= len(names) + blocks:
        raise UserError(
            f"{source}: a mixed model needs two groups, two blocks, and more values than "
            f"groups and blocks together, not {len(names)}, {blocks} and {len(rows)}"
        )
    others = [name for name in names if name != reference]
    design = np.column_stack([np.ones(len(rows)), *[rows.group == name for name in others]]).astype(float)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = MixedLM(rows.value.to_numpy(), design, groups=rows.block.to_numpy(str)).fit(reml=True)
            limits = fit.conf_int()
        except (np.linalg.LinAlgError, ValueError) as error:
            raise UserError(
                f"{source}: the mixed model could not be fitted ({error}): use Friedman's test"
            ) from error
    own = slice(1, len(names))
    differences = pandas.DataFrame(
        {
            "group": others,
            "reference": reference,
            "difference": fit.fe_params[own],
            "low": limits[own, 0],
            "high": limits[own, 1],
            "p": fit.pvalues[own],
        }
    )
    rest = pandas.DataFrame({"fitted": fit.fittedvalues, "residual": fit.resid, "group": rows.group})
    return Mixed(
        differences,
        float(np.sqrt(fit.cov_re[0, 0])),
        float(np.sqrt(fit.scale)),
        rest,
        sorted({str(warning.message) for warning in caught}),
    )


# ---------------------------------------------------------------- effect sizes


def cliffs_delta(a, b, axis=-1):
    """Cliff's delta, P(a > b) - P(a < b), of two samples; from Mann and Whitney's U: 2 U / (n m) - 1.

    SciPy has U, but not for thousands of resampled pairs at a time, which the bootstrap asks for.
    """
    import scipy.stats

    a, b = np.moveaxis(np.asarray(a), axis, -1), np.moveaxis(np.asarray(b), axis, -1)
    n, m = a.shape[-1], b.shape[-1]
    ranks = scipy.stats.rankdata(np.concatenate([a, b], axis=-1), axis=-1)[..., :n]
    return 2 * (ranks.sum(axis=-1) - n * (n + 1) / 2) / (n * m) - 1


def _median_difference(a, b, axis=-1):
    return np.median(a, axis=axis) - np.median(b, axis=axis)


def _effects(parts, posthoc, seed, resamples):
    from itertools import combinations

    rows = []
    for (a, first), (b, second) in combinations(parts.items(), 2):
        row = {"a": a, "b": b}
        for name, statistic in (("difference", _median_difference), ("delta", cliffs_delta)):
            row[name] = float(statistic(first, second))
            row[f"{name}_low"], row[f"{name}_high"] = _interval(first, second, statistic, seed, resamples)
        rows.append(row | {"p": float(posthoc.loc[a, b])})
    return pandas.DataFrame(rows)


def _interval(first, second, statistic, seed, resamples):
    import scipy.stats

    batch = max(1, 2_000_000 // (len(first) + len(second)))  # bounds the memory for long tables
    found = scipy.stats.bootstrap(
        (first, second),
        statistic,
        vectorized=True,
        method="percentile",
        batch=batch,
        n_resamples=resamples,
        random_state=np.random.default_rng(seed),
    )
    return map(float, found.confidence_interval)
