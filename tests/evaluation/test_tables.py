"""CSV tables as Excel, LibreOffice and R write them; the cell that is wrong is named, and no other."""

import itertools
import re

import numpy as np
import pandas
import pytest

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import statistics, tables

GROUPS = ["Müller 5 µm", "NA", "None", "null", "n/a", "nan"]
ROWS = [(group, f"v{i}", 0.5 + 0.01 * i + 0.1 * g) for g, group in enumerate(GROUPS) for i in range(3)]
HEADER = ("method", "volume", "f1")


def text(separator=",", comma=False, rows=ROWS, end="\n"):
    lines = [separator.join(HEADER)]
    for *names, value in rows:
        value = value if isinstance(value, str) else f"{value:.4f}"
        lines.append(separator.join([*names, value.replace(".", ",") if comma else value]))
    return end.join(lines) + end


def read(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return tables.read(path)


def is_right(table):
    assert list(table.columns) == list(HEADER) and list(table.method) == [row[0] for row in ROWS]
    np.testing.assert_allclose(table.f1, [row[2] for row in ROWS])
    found = tables.clean(table, "f1", "method", "volume")
    assert set(found.group) == set(GROUPS) and len(found) == len(ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator, comma", [(",", False), (";", True), (";", False), ("\t", True)])
def test_spreadsheets_of_any_country(tmp_path, encoding, separator, comma, capsys):
    for head, end in itertools.product(("", f"sep={separator}\n", f'"sep={separator}"\n'), ("\n", "\r\n")):
        is_right(read(tmp_path, (head + text(separator, comma, end=end)).encode(encoding)))
    out = capsys.readouterr().out
    assert ("cp1252" in out) == (encoding == "cp1252") and ("decimal points" in out) == comma


def test_comments_empty_lines_and_empty_columns(tmp_path):
    lines = text().splitlines()
    is_right(
        read(
            tmp_path,
            "\n".join(["# measured, in May", "", "#", *lines[:4], "# new, batch", "", *lines[4:]]).encode(),
        )
    )
    is_right(read(tmp_path, ("\n".join(line + ",," for line in lines) + "\n,,,,\n").encode()))


def test_the_sample_of_a_quoted_cell(tmp_path):
    table = read(tmp_path, b'method,f1\n"a,\n b",0.5\n"say ""c""",0.7\n')
    assert list(table.method) == ["a,\n b", 'say "c"'] and list(table.f1) == [0.5, 0.7]


def test_names_with_commas_stay_as_they_are(tmp_path):
    table = read(tmp_path, b"dose;v\n1,5;0,5\nNone;0,6\ncontrol;0,7\n;0,8\n")
    assert list(table.dose[:3]) == ["1,5", "None", "control"] and list(table.v) == [0.5, 0.6, 0.7, 0.8]
    assert list(tables.select(table, "dose=None").index) == [1]


def test_thousands_in_a_table_with_decimal_commas(tmp_path):
    assert list(read(tmp_path, b"g;v\na;1.234,5\nb;-2,5e1\nc;3\n").v) == [1234.5, -25, 3]


@pytest.mark.parametrize(
    "cell", ["n.d.", "#DIV/0!", "#N/A", "NA", "-", "0.5 *", "77 %", "1_0", "< 0.1", "True"]
)
@pytest.mark.parametrize("comma", [False, True])
def test_a_cell_that_is_no_number_is_named(tmp_path, cell, comma):
    rows = list(ROWS)
    rows[4] = ("NA", "v1", cell)
    content = "# a comment\n" + text(";" if comma else ",", comma, rows)
    table = read(tmp_path, content.encode())
    for part in (table, tables.select(table, "method!=Müller 5 µm")):
        with pytest.raises(UserError) as caught:
            tables.clean(part, "f1", "method", "volume")
        line = str(caught.value)
        shown = cell.replace(".", ",") if comma else cell
        assert f"column 'f1' must hold numbers, not {shown!r} (row 5, line 7 of the file): " in line
        assert "\n" not in line and "t.csv" in line
    rows[4] = ROWS[4]
    is_right(
        read(tmp_path, text(";" if comma else ",", comma, rows).encode())
    )  # the remedy: the cell corrected


@pytest.mark.parametrize(
    "cell, word", [("", "empty"), ("inf", "infinite"), ("-Infinity", "infinite"), ("nan", "empty")]
)
def test_empty_and_infinite_cells_are_named(tmp_path, cell, word):
    rows = list(ROWS)
    rows[6] = ("None", "v0", cell)
    with pytest.raises(
        UserError, match=f"'f1' is .*{word}.* 1 of 18 rows, first in row 7, line 8 of the file"
    ):
        tables.clean(read(tmp_path, text(rows=rows).encode()), "f1", "method")


def test_an_empty_group_is_missing(tmp_path):
    with pytest.raises(UserError, match="'method' is empty .* row 2, line 3"):
        tables.clean(read(tmp_path, b"method,f1\na,1\n,2\nb,3\n"), "f1", "method")


def test_blanks_around_names_are_left_out_with_a_word(tmp_path, capsys):
    table = read(tmp_path, " method ,f1\nWNet3D , 0.5\nWNet3D,0.6\n\u00a0Otsu,0.7\n".encode())
    assert list(table.columns) == ["method", "f1"] and list(table.method) == ["WNet3D", "WNet3D", "Otsu"]
    assert "t.csv: blanks around 3 names are left out, the first ' method '" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "it is empty"),
        (b"sep=;\n\n", "it is empty"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, its header 2"),
        (b"\x02\x03\x04\xff\xfe", "no text; is it a workbook"),
        (b"PK\x03\x04\xff\xfe", "it is a workbook): save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "it is a workbook): save it as CSV"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
    ],
)
def test_what_is_no_table(tmp_path, content, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value) and "t.csv" in str(caught.value)


def test_whatever_bytes_there_are_a_table_or_one_line(tmp_path):
    rng = np.random.default_rng(0)
    whole = bytearray(("sep=;\n" + text(";", True)).encode("utf-16"))
    for _ in range(300):
        cut = bytearray(whole[: rng.integers(1, len(whole))])
        cut[rng.integers(len(cut))] = rng.integers(256)
        try:
            read(tmp_path, bytes(cut))
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("group;value\na;1\u00a0234,5\nb;2\u202f345,25\n", [1234.5, 2345.25]),
        ("group;value\na;1'234.5\nb;2\u2019345.25\n", [1234.5, 2345.25]),
        ('group,value\na,"1,234.5"\nb,"2,345.25"\n', [1234.5, 2345.25]),
        ("group;value\na;\u22121,5\nb;2,5\n", [-1.5, 2.5]),
    ],
)
def test_thousands_and_minus_of_any_country(tmp_path, text, numbers):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert tables.read(tmp_path / "t.csv").value.tolist() == numbers


@pytest.mark.parametrize("word", ["\u221e", "50%", "(1.5)", "1.Feb", "<0.5", "1\u00a023"])
def test_what_is_no_number_is_named_with_its_row(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"group;value\na;1\nb;{word}\nc;3\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 2, line 3 of the file.*correct this cell"):
        tables.clean(tables.read(tmp_path / "t.csv"), "value", "group")


def test_parquet_round_trip(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.csv").write_text("group,value\nNA,1.5\nb,2\n")
    tables.convert(tmp_path / "t.csv", tmp_path / "t.parquet")
    found = tables.read(tmp_path / "t.parquet")
    assert found.value.tolist() == [1.5, 2.0] and found.group.tolist() == ["NA", "b"]
    with pytest.raises(UserError, match="there already"):
        tables.convert(tmp_path / "t.csv", tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match="no readable Parquet"):
        tables.read(tmp_path / "t.parquet")


def with_seeds():
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        [
            {"model": m, "volume": v, "training_percent": p, "seed": s, "dice": rng.random()}
            for m in "ab"
            for v in ("c3", "c5")
            for p in (10, np.nan)
            for s in range(3)
        ]
    )


def test_repeats_are_averaged_within_their_unit():
    table = with_seeds()
    assert tables.units(table, "model") == ["volume", "training_percent"]
    found = tables.averaged(table, "dice", "model")
    assert len(found) == 2 * 2 * 2 and set(found) == {"model", "volume", "training_percent", "dice"}
    own = table[(table.model == "a") & (table.volume == "c5") & table.training_percent.isna()].dice.mean()
    row = found[(found.model == "a") & (found.volume == "c5") & found.training_percent.isna()]
    assert row.dice.item() == pytest.approx(own)
    assert len(tables.averaged(table, "dice", "model", "volume")) == 4
    assert tables.averaged(table, "dice", "model", "rows") is table
    once = table[table.seed == 0]
    assert tables.averaged(once, "dice", "model") is once  # one seed is no repeat


def test_a_unit_must_be_there():
    table = with_seeds()
    with pytest.raises(UserError, match="no column 'place'"):
        tables.averaged(table, "dice", "model", "place")
    with pytest.raises(UserError, match="name it in unit, or write rows"):
        tables.averaged(table[["model", "seed", "dice"]], "dice", "model")


def test_a_table_three_times_is_the_table():
    """Three seeds a cell are not three samples."""
    table = with_seeds().query("seed == 0").drop(columns="seed")
    tripled = pandas.concat([table.assign(seed=seed) for seed in range(3)], ignore_index=True)
    whole = statistics.compare(table, "dice", "model", resamples=10).kruskal
    assert statistics.compare(tripled, "dice", "model", resamples=10, unit="auto").kruskal.p == whole.p
    assert statistics.compare(tripled, "dice", "model", resamples=10).kruskal.p < whole.p


@pytest.mark.parametrize(
    "content, values, word",
    [
        (
            'g,v\na,"8,100"\nb,"12,345"\n',
            [8100, 12345],
            "commas in its numbers are read as thousands, such as 8,100",
        ),
        ("g\tv\tx\na\t8,100\t0.5\nb\t7\t1\n", [8100, 7], "read as thousands"),
        ("g\tv\na\t8,100\nb\t710.5\n", [8100, 710.5], "read as thousands"),  # used to be 8.1 and 710.5
        ("g\tv\na\t8,100,000\nb\t7\n", [8100000, 7], ""),
        (
            "g\tv\na\t8,100\nb\t7\n",
            [8.1, 7],
            "commas in its numbers are read as decimal points, such as 8,100",
        ),
        (
            "g;v;x\na;1.500;0,5\nb;900;1\n",
            [1500, 900],
            "points in its numbers are read as thousands, such as 1.500",
        ),
        ("g;v;x\na;0.500;0,5\nb;0.900;1\n", [0.5, 0.9], "commas in its numbers"),
        (
            "g;v\na;8.100\nb;7.250\n",
            [8.1, 7.25],
            "points in its numbers are read as decimal points, such as 8.100",
        ),
        ("g;v\na;8\u202f100,5\nb;1\u00a0000\n", [8100.5, 1000], "decimal points"),
        ("g\tv\tx\na\t8,100\t1,234.5\n", [8100], "read as thousands"),  # used to be 8.1
        ("g;v;x\na;1.500;12.345.678\n", [1500], "read as thousands"),  # used to be 1.5
        ("g|v\na|1\nb|2\n", [1, 2], ""),
        ('"g";"v"\n"a";"1"\n', [1], ""),
    ],
)
def test_thousands_and_separators(tmp_path, content, values, word, capsys):
    table = read(tmp_path, content.encode())
    assert list(table.v) == values
    out = capsys.readouterr().out
    assert word in out and bool(out) == bool(word)


def test_a_name_with_a_comma_stays(tmp_path):
    table = read(tmp_path, b"g\tv\na\t0.5\nb, c\t1.5\n1,234\t2.5\n")
    assert list(table.g) == ["a", "b, c", "1,234"]


def test_names_of_several_lines_and_headings_above_the_names(tmp_path, capsys):
    table = read(tmp_path, b'"the\nmethod";"Dice\n(IoU)"\nWNet;0,5\n')
    assert list(table.columns) == ["the method", "Dice (IoU)"] and list(table["Dice (IoU)"]) == [0.5]
    assert "heading" not in capsys.readouterr().out
    body = b"g,v\na,1\nb,2\n"
    read(tmp_path, b"Results,\n" + body)
    assert "columns of it have no name: is its first line a heading above the names? delete it" in (
        capsys.readouterr().out
    )
    assert list(read(tmp_path, body).v) == [1, 2]  # the remedy
    read(tmp_path, b",g,v\n0,a,1\n")  # as pandas writes it
    assert capsys.readouterr().out == ""
