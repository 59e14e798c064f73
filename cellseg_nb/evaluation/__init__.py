"""How good it is: metrics, statistics, tables, and grids of runs."""
