"""Notebook 08's parameters, and the user's table. All it computes stands in its cells, or in
`cellseg_nb.evaluation.statistics`."""

from cellseg_nb import parameters
from cellseg_nb.evaluation import statistics, tables

PARAMETERS = parameters.common("seed", "out") | {
    name: parameters.text for name in ("table", "value", "group", "keep", "unit", "block")
}


def own(choice, published):
    """The user's table, or the published one, with the rows that ``keep`` names; what can be wrong with it is
    told before anything else runs.

    ``choice``: the checked parameters. Returns the rows (a pandas table), the names of the columns of values
    and of groups, and a list of those of the blocks. Raises UserError.
    """
    table = tables.read(choice["table"]) if choice["table"] else published
    value = tables.pick(table, choice["value"], ("dice", "f1"), "value")
    table = tables.percentages(table, value)
    group = tables.pick(table, choice["group"], ("method", "model"), "group")
    blocks = [name.strip() for name in choice["block"].split(",") if name.strip()]
    for name in blocks:
        tables.column(table, name, "block")
    rows = tables.select(table, choice["keep"])
    tables.say_alike(rows, group)
    samples = tables.averaged(rows, value, group, choice["unit"])
    statistics.compare(samples, value, group, resamples=20)  # says what the tests cannot do with it
    if blocks:
        paired(rows, value, group, blocks)
    return rows, value, group, blocks


def paired(rows, value, group, blocks):
    """`statistics.friedman` of the rows, those of one group and block averaged."""
    averaged = rows.groupby([group, *blocks], as_index=False, sort=False)[value].mean()
    averaged.attrs.update(rows.attrs)
    return statistics.friedman(averaged, value, group, blocks)
