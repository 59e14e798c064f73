"""Tables of results: read from CSV, cut down to the rows one wants, checked before anything is computed."""

import re

import numpy as np
import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import spreadsheets
from cellseg_nb.io.files import as_path, reason, write_table


def convert(path, out):
    """Write a table as CSV or Parquet, by the ending of ``out``. Returns its path. Raises UserError."""
    out = as_path(out)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise UserError(f"{out} must end in .csv or .parquet: as these a table is written")
    if out.exists():
        raise UserError(f"{out} is there already: choose another name")
    write_table(out, read(path))
    return out


def _parquet(path):
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{path} needs the library pyarrow: pip install pyarrow, or give a CSV file"
        ) from error
    try:
        return pandas.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"there is no table {path}: check the path") from None
    except Exception as error:  # pyarrow's own kinds for damaged files
        raise UserError(f"{path} is no readable Parquet table ({reason(error)}): write it again") from error


def read(path):
    """A table from a Parquet file, or a CSV file with column names in its first line, as
    `spreadsheets.parse` understands it.

    Says what had to be guessed. Raises UserError for a file that is not there or holds no table.
    """
    path = as_path(path)
    if path.suffix.lower() == ".parquet":
        table = _parquet(path)
        table.attrs.update(source=str(path))
        return table
    try:
        table, lines, words = spreadsheets.parse(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"there is no table {path}: check the path (notebooks 05 and 06 write CSV files)"
        ) from None
    except (OSError, spreadsheets.Unreadable) as error:
        raise UserError(
            f"{path} is no readable CSV table ({reason(error)}): save it as CSV, its first line the names of "
            "the columns"
        ) from error
    for word in words:
        print(f"{path.name}: {word}")
    table.attrs.update(source=str(path), lines=lines)
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
        return values.notna() & (values.map(str) == wanted)
    try:
        return pandas.Series(np.isclose(values.to_numpy(float, na_value=np.nan), float(wanted)), values.index)
    except ValueError:
        raise UserError(f"keep: column {name!r} holds numbers, {wanted!r} is none") from None


REPEATS = ("seed", "repeat", "replicate", "run")  # columns that count how often the same thing was measured
# columns that say what was measured: of two rows that agree in all of them, one is a repeat
UNITS = (
    *("volume", "fold", "held_out", "image", "animal", "brain", "place", "training_percent", "percentage"),
    *("artifacts", "variant", "matching", "threshold", "thresh"),
)


def units(table, group, unit="auto"):
    """The columns that say what one sample is, as a list; empty where each row is one.

    ``unit`` names them, with commas between; "rows": each row is one; "auto": the columns in `UNITS`, where
    the table has one of `REPEATS`, else rows. Raises UserError for a column that is not there, and when
    "auto" finds repeats and nothing that says of what.
    """
    if unit not in ("auto", "", "rows"):
        return [column(table, name.strip(), "unit").name for name in unit.split(",") if name.strip()]
    repeats = [name for name in REPEATS if name in table and table[name].nunique() > 1]
    if unit == "rows" or not repeats:
        return []
    found = [name for name in UNITS if name in table and name != group]
    if not found:
        raise UserError(
            f"{source(table)} has repeats (column {repeats[0]!r}) and no column that says of what: name it "
            "in unit, or write rows where each repeat is a sample of its own"
        )
    return found


def averaged(table, value, group, unit="auto"):
    """The table with repeats averaged: one row for each group and unit (see `units`).

    Repeats of one measurement, such as trainings with several seeds, are not independent samples: a rank test
    over them finds what is not there. Empty cells of a unit are a value like others.
    """
    columns = units(table, group, unit)
    if not columns:
        return table
    clean(table, value, group)  # a text or NaN in it is told with its row
    found = table.groupby([group, *columns], as_index=False, sort=False, dropna=False)[value].mean()
    found.attrs.update({key: text for key, text in table.attrs.items() if key == "source"})
    return found


def pick(table, name, usual, role):
    """The column ``name``; for "auto" or "" the first of ``usual`` that the table has, in capitals or not.
    ``role``: the parameter that names it.

    Raises UserError when there is none.
    """
    given = name not in ("auto", "")
    wanted = [name] if given else usual
    alike = [n for one in wanted for n in table.columns if str(n).casefold() == one.casefold()]
    found = [n for n in wanted if n in table.columns] or alike
    if not found:
        raise UserError(
            f"{role}: {source(table)} has no column {' or '.join(map(repr, wanted))}: set {role} to one "
            f"that it has ({', '.join(map(str, table.columns))})"
        )
    return found[0]


def column(table, name, role=""):
    """The column of that name. Raises UserError when there is none, or more than one; ``role``: the parameter
    that names it."""
    found = list(table.columns).count(name)
    if found != 1:
        problem = f"{found} columns" if found else "no column"
        words = f"{source(table)} has {problem} {name!r}: it has {', '.join(map(str, table.columns))}"
        raise UserError(f"{role}: {words}" if role else words)
    return table[name]


def percentages(table, value):
    """The table with a column of percentages (85 %) as parts of 1, which is said; else as it is."""
    column(table, value)
    found = (
        None if pandas.api.types.is_numeric_dtype(table[value]) else spreadsheets.percentages(table[value])
    )
    if found is None:
        return table
    print(f"{value}: percentages are read as parts of 1")
    made = table.assign(**{value: found.to_numpy()})
    made.attrs.update(table.attrs)
    return made


def say_alike(table, group):
    """A line on names of groups that differ in capitals or blanks alone: they are taken as two."""
    known = {}
    for name in map(str, column(table, group).dropna().unique()):
        known.setdefault("".join(name.casefold().split()), []).append(name)
    for names in known.values():
        if len(names) > 1:
            print(f"{group}: {' and '.join(map(repr, names))} differ in capitals or blanks: one group?")


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
                f"{len(rows)} rows, first in {_row(table, rows.argmax())}: fill them in or leave them "
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


def _row(table, position):
    """Row and line of the file where a table was read from one, also after rows were left out of it."""
    label, lines = table.index[position], table.attrs.get("lines")
    if lines is None or not isinstance(label, (int, np.integer)) or not 0 <= label < len(lines):
        return f"row {position + 1}"
    return f"row {label + 1}, line {lines[label]} of the file"


def _numbers(table, name):
    values = table[name]
    if pandas.api.types.is_numeric_dtype(values) and not pandas.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=float, na_value=np.nan)
    for position, value in enumerate(values):
        if not _is_number(value):
            raise UserError(
                f"{source(table)}: column {name!r} must hold numbers, not {value!r} "
                f"({_row(table, position)}): correct this cell, or leave its row out"
            )
    return np.array([np.nan if pandas.isna(value) else float(value) for value in values])


def _is_number(value):
    if isinstance(value, str):
        return bool(spreadsheets.NUMBER.fullmatch(value.strip()))
    return not isinstance(value, (bool, np.bool_)) and (pandas.isna(value) or np.isreal(value))
