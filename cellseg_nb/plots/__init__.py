"""Pictures by subject, of tables and arrays. Those that every notebook uses are offered here
(``plots.orthogonal``)."""

from cellseg_nb.plots.basic import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    STYLE,
    class_map,
    curves,
    histogram,
    live,
    orthogonal,
    projection,
    random_colours,
    sizes,
)

__all__ = [
    "BLUE",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "STYLE",
    "class_map",
    "curves",
    "histogram",
    "live",
    "orthogonal",
    "projection",
    "random_colours",
    "sizes",
]
