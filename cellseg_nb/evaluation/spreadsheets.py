"""CSV as spreadsheets of any country write it: encoding, separator, decimal commas, lines around it."""

import csv
import re

import numpy as np
import pandas

NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.IGNORECASE)
COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?(e[+-]?\d+)?", re.IGNORECASE)  # 1.234,5 is 1234.5
# Thousands as French, Swiss and English spreadsheets show them: 1 234,5 (no plain blanks), 1'234.5, 1,234.5
GROUPED = re.compile(
    r"[+-]?\d{1,3}([\u00a0\u202f\u2009'\u2019]\d{3})+([.,]\d*)?"
    r"|[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}"
)
ENGLISH = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")  # 1,234: where a comma is no decimal point
GERMAN = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")  # 1.234: where another column has decimal commas
DECIMAL = re.compile(r"[+-]?(\d+(\.\d{3})*)?,\d+")
PERCENT = re.compile(r"\s*%$")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


class Unreadable(ValueError):
    """No table; the text says why, in a few words."""


def parse(content):
    """A pandas table of what a CSV file holds (bytes), the line of each row in the file, and words on it.

    Lines that begin with # are comments, above the table or with a blank behind the #; ``sep=;`` names the
    separator, otherwise the header tells: comma, semicolon, tab or |. Only empty cells are missing: NA, None
    and null are words. Raises `Unreadable`.
    """
    text, words = _decoded(content)
    separator, rows = _rows(text)
    if not rows:
        raise Unreadable("it is empty")
    header, *rows = rows
    names = [" ".join(name.split()) for name in header[1]]
    while names and not names[-1] and all(not "".join(cells[len(names) - 1 :]).strip() for _, cells in rows):
        names.pop()
    for line, cells in rows:
        if "".join(cells[len(names) :]).strip():
            raise Unreadable(f"line {line} has {len(cells)} cells, its header {len(names)}")
    columns = [[cells[i].strip() if i < len(cells) else "" for _, cells in rows] for i in range(len(names))]
    mark = _decimal_mark(cell for cells in columns for cell in cells)
    made = [_column(cells, separator, mark) for cells in columns]
    below = [cell for cell in rows[0][1] if cell.strip()] if rows else []
    if not all(names[1:]) and not any(NUMBER.fullmatch(c) or COMMA.fullmatch(c) for c in below):
        words.append("columns of it have no name: is its first line a heading above the names? delete it")
    table = pandas.DataFrame(dict(enumerate(column for column, _ in made)))
    table.columns = [name or f"Unnamed: {i}" for i, name in enumerate(names)]
    words += {word.partition(",")[0]: word for _, word in made if word}.values()
    stripped = [name for name in header[1] if name != name.strip()]
    for i, (column, _) in enumerate(made):
        if not pandas.api.types.is_numeric_dtype(column):
            stripped += [cells[i] for _, cells in rows if i < len(cells) and cells[i] != cells[i].strip()]
    if stripped:
        words.append(f"blanks around {len(stripped)} names are left out, the first {stripped[0]!r}")
    return table, [line for line, _ in rows], words


def _decoded(content):
    if content.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise Unreadable("it is a workbook")
    if content.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise Unreadable("it is a web page")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in content[:200]:  # UTF-16 without its mark: every other byte of plain letters is 0
        encodings = ["utf-16-be" if content[:1] == b"\0" else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if CONTROL.search(text):
            raise Unreadable("it holds bytes that are no text; is it a workbook?")
        said = ["it is no UTF-8: read as Windows writes it (cp1252); check letters such as ü and µ"]
        return text, said if encoding == "cp1252" else []
    raise Unreadable("its encoding is unknown; choose CSV UTF-8 when you save it")


def _rows(text):
    """The separator, and (number of the line, cells) of the header and of each row that is not empty."""
    lines = text.splitlines(keepends=True)
    skipped, separator = 0, None
    for line in lines:
        named = re.fullmatch(r'"?sep=(.)"?[;,\t]*', line.strip("\r\n "), re.IGNORECASE) or (
            re.fullmatch(r"sep=(\t)\s*", line)
        )
        if named:
            separator = named[1]
        elif line.strip() and not line.lstrip('"').startswith("#"):
            break
        skipped += 1
    if separator is None and skipped < len(lines):
        head, more = lines[skipped], iter(lines[skipped + 1 :])
        while head.count('"') % 2 and (line := next(more, "")):  # a name of several lines
            head += line
        head = re.sub(r'"[^"]*"', "", head)
        separator = max(",;\t|", key=head.count)  # the first where none is there: a table of one column
    reader, rows = csv.reader(lines[skipped:], delimiter=separator or ","), []
    try:
        for cells in reader:
            comment = rows and re.match(r"#\s", cells[0] if cells else "")
            if not comment and "".join(cells).strip():
                rows.append((skipped + reader.line_num, cells))
    except csv.Error as error:
        raise Unreadable(f"line {skipped + reader.line_num}: {error}") from error
    return separator, rows


def _tidy(cell):
    """A number without what groups its thousands, and with a minus of the keyboard; other text as it is."""
    plain = cell.replace("\u2212", "-")
    if GROUPED.fullmatch(plain):
        english = re.search(r",\d{3}.*[.,]", plain)
        return re.sub("," if english else r"[\u00a0\u202f\u2009'\u2019]", "", plain)
    return plain if NUMBER.fullmatch(plain) or COMMA.fullmatch(plain) else cell


def _decimal_mark(cells):
    """ "," or ".", where the cells of a table show one and not the other; else "". Marks that group thousands
    beyond doubt (1,234.5, 12.345.678) show that the other one is that of decimals."""
    marks = set()
    for cell in cells:
        if ENGLISH.fullmatch(cell):
            marks.update("." if "." in cell or cell.count(",") > 1 else ())
        elif GERMAN.fullmatch(cell):
            marks.update("," if cell.count(".") > 1 else ())
        elif DECIMAL.fullmatch(cell):
            marks.add(",")
        elif "." in cell and NUMBER.fullmatch(cell):
            marks.add(".")
    return marks.pop() if len(marks) == 1 else ""


def _column(cells, separator, mark=""):
    """Cells (text, stripped) as numbers where all are, else as text; and a word or "". ``mark``: see
    `_decimal_mark`."""
    cells = [_tidy(cell) for cell in cells]
    filled = [cell for cell in cells if cell]
    grouped, word = _thousands(filled, separator, mark)
    commas = [cell for cell in filled if separator != "," and "," in cell and COMMA.fullmatch(cell)]
    plain = cells
    if grouped:
        kind = ENGLISH if grouped == "," else GERMAN
        plain = [c.replace(grouped, "") if kind.fullmatch(c) else c for c in cells]
    elif commas:
        word = f"commas in its numbers are read as decimal points, such as {commas[0]}"
        plain = [c.replace(".", "").replace(",", ".") if COMMA.fullmatch(c) else c for c in cells]
    strange = sum(bool(cell) and not NUMBER.fullmatch(cell) for cell in plain)
    if strange:
        # Where most are numbers they are read as such, so that the cell that is none can be named.
        plain, word = (plain, word) if 2 * strange < len(filled) else (cells, "")
        return pandas.Series([cell or None for cell in plain], dtype=object), word
    if filled and len(filled) == len(cells) and all(re.fullmatch(r"[+-]?\d{1,18}", c) for c in plain):
        return pandas.Series([int(c) for c in plain]), word
    return pandas.Series([float(c) if c else np.nan for c in plain], dtype=float), word


def percentages(cells):
    """Cells such as 85 % or 85,5% as parts of 1, a series of numbers; None where they are no such."""
    texts = ["" if pandas.isna(cell) else str(cell) for cell in cells]
    if not any(texts) or not all(PERCENT.search(text) for text in texts if text):
        return None
    column, _ = _column([PERCENT.sub("", text) for text in texts], ";")
    return column / 100 if pandas.api.types.is_numeric_dtype(column) else None


def _thousands(filled, separator, mark):
    """The mark that groups the thousands of a column, "," or ".", or ""; and a word."""
    every = [cell for cell in filled if any(kind.fullmatch(cell) for kind in (NUMBER, COMMA, ENGLISH))]
    with_commas, with_dots = [c for c in every if "," in c], [c for c in every if "." in c]
    if with_commas and all(map(ENGLISH.fullmatch, with_commas)):
        if mark == "." or separator == "," and not mark:
            return ",", f"commas in its numbers are read as thousands, such as {with_commas[0]}"
    elif with_dots and not with_commas and all(map(GERMAN.fullmatch, with_dots)):
        if mark == ",":
            return ".", f"points in its numbers are read as thousands, such as {with_dots[0]}"
        if separator == ";":
            return "", f"points in its numbers are read as decimal points, such as {with_dots[0]}"
    return "", ""
