"""Tables of results: read from CSV, cut down to the rows one wants, checked before anything is computed."""

import re

import numpy as np
import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import as_path


def read(path):
    """A table from a CSV file, column names in the first line, separated by commas. Raises UserError."""
    path = as_path(path)
    try:
        table = pandas.read_csv(path)
    except FileNotFoundError:
        raise UserError(
            f"there is no table {path}: check the path (notebooks 05 and 06 write CSV files)"
        ) from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no readable CSV table ({reason}): save it as CSV with commas") from error
    if len(table.columns) == 1 and re.search("[;\t]", str(table.columns[0])):
        raise UserError(
            f"{path} is not separated by commas: save it as CSV with commas, and points in the numbers"
        )
    table.attrs["source"] = str(path)
    return table


# By hand, since pandas' `DataFrame.query` runs what it is given, and this text comes from a form or a command
# line. It also compares decimal numbers to the last digit (0.1 + 0.2 is not its 0.3), and says nothing about
# a condition that leaves no row.
def select(table, keep):
    """Rows that fulfil every condition in a text such as ``"threshold=0.5, artifacts!=included"``; "": all
    rows.

    Raises UserError for a condition that cannot be read, a column that is not there, and when no row is left.
    """
    for condition in filter(None, (part.strip() for part in keep.split(","))):
        parts = re.fullmatch(r"([^!=]+?)\s*(!=|=)\s*([^=]+)", condition)
        if not parts:
            raise UserError(
                f"keep: {condition!r} is no condition: write column=value or column!=value, "
                "with commas between several"
            )
        name, sign, wanted = parts.groups()
        equal = _equal(column(table, name), name, wanted)
        kept = table[equal if sign == "=" else ~equal]
        if kept.empty:
            held = ", ".join(map(str, table[name].unique()[:8]))
            raise UserError(f"keep: no row is left after {condition!r}; {name!r} holds {held}")
        table = kept
    return table


def _equal(values, name, wanted):
    if not pandas.api.types.is_numeric_dtype(values) or pandas.api.types.is_bool_dtype(values):
        return values.map(str) == wanted
    try:
        return pandas.Series(np.isclose(values.to_numpy(float, na_value=np.nan), float(wanted)), values.index)
    except ValueError:
        raise UserError(f"keep: column {name!r} holds numbers, {wanted!r} is none") from None


def pick(table, name, usual, role):
    """The column ``name``; for "auto" the first of ``usual`` that the table has. ``role`` is for messages.

    Raises UserError when there is none.
    """
    found = [n for n in ([name] if name != "auto" else usual) if n in table.columns]
    if not found:
        tried = name if name != "auto" else ", ".join(usual)
        raise UserError(
            f"{role}: none of the columns {tried} is in {source(table)}: "
            f"it has {', '.join(map(str, table.columns))}"
        )
    return found[0]


def column(table, name):
    """The column of that name. Raises UserError when there is none, or more than one."""
    found = list(table.columns).count(name)
    if found != 1:
        problem = f"{found} columns" if found else "no column"
        raise UserError(
            f"{source(table)} has {problem} {name!r}: it has {', '.join(map(str, table.columns))}"
        )
    return table[name]


def source(table):
    """Where a table is from, for messages."""
    return table.attrs.get("source", "the table")


def clean(table, value, group, block=None):
    """The columns in use as a new table of value (float), group and block (of one column or a list of them,
    joined).

    Raises UserError that names column and row for missing columns, text, empty and infinite values, and when
    all values are equal."""
    blocks = [] if block is None else [block] if isinstance(block, str) else list(block)
    parts = {name: column(table, name) for name in (value, group, *blocks)}
    if table.empty:
        raise UserError(f"{source(table)} has no rows: nothing can be compared")
    numbers = _numbers(table, value)
    missing = {name: parts[name].isna().to_numpy() for name in (group, *blocks)}
    missing[value] = ~np.isfinite(numbers)
    for name, rows in missing.items():
        if rows.any():
            raise UserError(
                f"{source(table)}: column {name!r} is empty (NaN) or infinite in {rows.sum()} of "
                f"{len(rows)} rows, first in row {rows.argmax() + 1}: fill them in or leave them "
                "out"
            )
    if len(np.unique(numbers)) == 1:
        raise UserError(
            f"{source(table)}: all values of {value!r} are {numbers[0]:g}: there is nothing to compare"
        )
    result = pandas.DataFrame({"value": numbers, "group": parts[group].to_numpy(dtype=object)})
    if blocks:
        result["block"] = [" ".join(map(str, key)) for key in zip(*(parts[name] for name in blocks))]
    return result


def _numbers(table, name):
    values = table[name]
    numeric = pandas.api.types.is_numeric_dtype(values) and not pandas.api.types.is_bool_dtype(values)
    if not numeric:
        strange = [isinstance(v, (str, bool)) for v in values]
        row = strange.index(True) if True in strange else 0
        raise UserError(
            f"{source(table)}: column {name!r} must hold numbers, not {values.iloc[row]!r} (row {row + 1})"
        )
    return values.to_numpy(dtype=float, na_value=np.nan)
