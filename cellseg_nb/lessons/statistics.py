"""Notebook 08's parameters. All it computes stands in its cells, or in `cellseg_nb.evaluation.statistics`."""

from cellseg_nb import parameters

PARAMETERS = parameters.common("seed", "out") | {
    name: parameters.text for name in ("table", "value", "group", "keep", "unit", "block")
}
