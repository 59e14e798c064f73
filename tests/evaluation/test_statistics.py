"""Statistics: the published numbers to the digit, the formulas written out once more, and what is refused."""

import gc
import json

import numpy as np
import pandas
import pytest
import scipy.stats
from hypothesis import assume, given, settings, strategies as st

from cellseg_nb.data import bundled
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import statistics, tables

PRETRAINED = "WNet3D - Pretrained"


@pytest.fixture(scope="module", autouse=True)
def little_to_collect():
    """statsmodels collects garbage at every call: half a second each, where other tests have loaded large
    libraries."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def published():
    return tables.read(bundled.path("published/label_efficiency_dice.csv"))


@pytest.fixture(scope="module")
def once(published):
    return tables.select(published, "artifacts!=included")


def digits(number):
    return f"{number:.12g}"


# ---------------------------------------------------------------- the published numbers


def test_kruskal_as_published_on_87_rows(once):
    found = statistics.compare(once, "dice", "model", resamples=10).kruskal
    assert len(once) == 87 and found.n == dict.fromkeys(once.model.unique(), 12) | {PRETRAINED: 3}
    assert digits(found.H) == digits(49.212286777549934)
    assert digits(found.p) == digits(2.0617114022093387e-08)


@pytest.mark.parametrize(
    "rows, expected",
    [
        (
            90,
            {
                "SwinUNetR": "1.000000",
                "Cellpose": "0.211321",
                "SegResNet": "0.076427",
                "StarDist": "0.056048",
                "StarDist - default": "0.000103",
                "Cellpose - default": "0.000001",
            },
        ),
        (
            87,
            {
                "SwinUNetR": "1.000000",
                "Cellpose": "0.117605",
                "SegResNet": "0.042509",
                "StarDist": "0.033056",
            },
        ),
    ],
)
def test_posthoc_on_all_rows_as_published_and_on_each_once(published, once, rows, expected):
    table = {90: published, 87: once}[rows]
    assert len(table) == rows
    posthoc = statistics.compare(table, "dice", "model", resamples=10).posthoc
    assert {name: f"{posthoc.loc[PRETRAINED, name]:.6f}" for name in expected} == expected


@pytest.mark.parametrize(
    "model, mean, sd",
    [
        ("SwinUNetR", 0.829685, 0.002778),
        ("Cellpose", 0.760962, 0.034985),
        ("SegResNet", 0.746871, 0.069419),
        ("StarDist", 0.716169, 0.068885),
        ("StarDist - default", 0.605878, 0.073826),
        ("Cellpose - default", 0.437450, 0.088021),
    ],
)
def test_means_and_sd_at_80_percent(published, model, mean, sd):
    rows = tables.select(published, "training_percent=80")
    groups = statistics.compare(rows, "dice", "model", resamples=10).groups
    assert (round(groups["mean"][model], 6), round(groups.sd[model], 6)) == (mean, sd)


@pytest.mark.parametrize(
    "artifacts, mean, sd", [("included", 0.736588, 0.127254), ("excluded", 0.812688, 0.004744)]
)
def test_means_and_sd_of_the_pretrained(published, artifacts, mean, sd):
    rows = tables.select(published, f"model={PRETRAINED}, artifacts={artifacts}")
    assert (round(rows.dice.mean(), 6), round(rows.dice.std(), 6)) == (mean, sd)


def test_friedman_as_published(once):
    table = tables.select(once, f"model!={PRETRAINED}")
    table = table.assign(place=table.groupby(["model", "training_percent"]).cumcount())
    found = statistics.friedman(table, "dice", "model", ["training_percent", "place"])
    assert (found.groups, found.blocks) == (7, 12)
    assert digits(found.statistic) == digits(43.67462686567162)
    assert digits(found.p) == digits(8.575653390194426e-08)


def test_p_of_figure_1g_follows_from_its_h():
    # The table behind it is published only in part; that H and p belong together can be checked.
    assert digits(scipy.stats.chi2.sf(4.911907390678863, df=2)) == digits(0.08578134714721779)


def test_the_two_known_facts_about_the_table(published):
    rows = published[published.model == PRETRAINED]
    assert sorted(rows.volume[rows.duplicated(["volume", "dice"])]) == ["c3", "c5"]
    assert set(published.volume[published.model == "WNet3D"]) == {"visual"}


# ---------------------------------------------------------------- formulas written out


def own_kruskal(values, groups):
    """Kruskal & Wallis 1952, with the correction for ties."""
    ranks, n = scipy.stats.rankdata(values), len(values)
    squares = sum(ranks[groups == g].sum() ** 2 / (groups == g).sum() for g in set(groups))
    h = 12 / (n * (n + 1)) * squares - 3 * (n + 1)
    _, ties = np.unique(values, return_counts=True)
    return h / (1 - (ties**3 - ties).sum() / (n**3 - n))


def own_conover(values, groups, a, b):
    """Conover & Iman 1979: t of the difference in mean rank, not yet corrected for several comparisons."""
    ranks, n, k = scipy.stats.rankdata(values), len(values), len(set(groups))
    s2 = ((ranks**2).sum() - n * (n + 1) ** 2 / 4) / (n - 1)
    first, second = ranks[groups == a], ranks[groups == b]
    spread = s2 * (n - 1 - own_kruskal(values, groups)) / (n - k) * (1 / len(first) + 1 / len(second))
    return 2 * scipy.stats.t.sf(abs(first.mean() - second.mean()) / np.sqrt(spread), n - k)


def own_holm(p):
    """Holm 1979: smallest first, times the number of tests left, never falling, at most 1."""
    order, adjusted, worst = np.argsort(p), np.empty(len(p)), 0
    for rank, i in enumerate(order):
        worst = max(worst, min(1, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


numbers = st.one_of(st.integers(0, 5).map(float), st.floats(-1e6, 1e6, allow_nan=False))
samples = st.lists(st.lists(numbers, min_size=2, max_size=7), min_size=2, max_size=5)


@settings(max_examples=30, deadline=None)
@given(samples)
def test_against_the_libraries_and_the_formulas(parts):
    import scikit_posthocs

    assume(any(len(set(part)) > 1 for part in parts))
    values = np.concatenate(parts)
    groups = np.repeat([f"g{9 - i}" for i in range(len(parts))], [len(part) for part in parts])
    table = pandas.DataFrame({"who": groups, "score": values}).sample(frac=1, random_state=0)
    found = statistics.compare(table, "score", "who", resamples=5)
    expected = tuple(scipy.stats.kruskal(*parts))
    assert found.kruskal[:2] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.kruskal.H == pytest.approx(own_kruskal(values, groups), rel=1e-9, abs=1e-9)
    library = scikit_posthocs.posthoc_conover(table, "score", "who", p_adjust="holm")
    names = sorted(set(groups))
    ours = found.posthoc.loc[names, names].to_numpy()
    np.testing.assert_allclose(ours, library.loc[names, names], rtol=1e-9, atol=1e-12)
    i, j = np.triu_indices(len(names), 1)
    p = [own_conover(values, groups, names[a], names[b]) for a, b in zip(i, j)]
    np.testing.assert_allclose(ours[i, j], own_holm(np.array(p)), rtol=1e-6, atol=1e-9)
    assert (ours == ours.T).all() and (np.diag(ours) == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=8), st.lists(numbers, min_size=1, max_size=8))
def test_cliffs_delta_counts_pairs(a, b):
    pairs = np.sign(np.subtract.outer(a, b))
    assert statistics.cliffs_delta(a, b) == pytest.approx(pairs.mean())


def test_friedman_by_its_formula():
    rng = np.random.default_rng(3)
    wide = rng.random((9, 4))
    table = pandas.DataFrame([{"fold": b, "way": g, "f1": wide[b, g]} for b in range(9) for g in range(4)])
    ranks = scipy.stats.rankdata(wide, axis=1).sum(axis=0)
    expected = 12 / (9 * 4 * 5) * (ranks**2).sum() - 3 * 9 * 5
    found = statistics.friedman(table.sample(frac=1, random_state=1), "f1", "way", "fold")
    assert found.statistic == pytest.approx(expected) and found.kendall_w == pytest.approx(expected / 27)


# ---------------------------------------------------------------- effects, mixed model, words


def test_effects_find_a_known_shift_and_are_seeded():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 60), rng.normal(2, 1, 60)
    table = pandas.DataFrame({"g": ["a"] * 60 + ["b"] * 60, "v": np.r_[a, b]})
    first, again = (statistics.compare(table, "v", "g", seed=5).effects for _ in range(2))
    pandas.testing.assert_frame_equal(first, again)
    row = first.iloc[0]
    assert row.difference_low < -2 < row.difference_high
    assert -1 <= row.delta_low < row.delta < row.delta_high < -0.5
    assert row.delta == pytest.approx(2 * scipy.stats.mannwhitneyu(a, b).statistic / 3600 - 1)


def test_mixed_model_finds_shifts_of_groups_and_blocks():
    rng = np.random.default_rng(1)
    block = rng.normal(0, 2, 30)
    rows = [
        {"m": g, "fold": b, "v": block[b] + {"x": 0, "y": 1, "z": 3}[g] + rng.normal(0, 0.5)}
        for b in range(30)
        for g in "xyz"
        for _ in range(2)
    ]
    found = statistics.mixed(pandas.DataFrame(rows), "v", "m", "fold", reference="x")
    assert list(found.differences.group) == ["y", "z"]
    for row, truth in zip(found.differences.itertuples(), (1, 3)):
        assert row.low < truth < row.high and row.p < 1e-6
    assert found.residual_sd == pytest.approx(0.5, rel=0.15) and found.block_sd == pytest.approx(2, rel=0.4)


def test_mixed_model_takes_its_blocks_into_account(once):
    table = tables.select(once, f"model!={PRETRAINED}")
    found = statistics.mixed(table, "dice", "model", ["volume", "training_percent"])
    assert set(found.differences.reference) == {"SwinUNetR"} and (found.differences.difference < 0).all()
    with pytest.raises(UserError, match="no model: choose one of"):
        statistics.mixed(table, "dice", "model", "volume", reference="UNet")


def test_summary_in_words(once):
    words = statistics.compare(once, "dice", "model", resamples=10).summary()
    assert "H = 49.21, p = 2.1e-08, 87 values" in words and "under 5 values" in words
    flat = pandas.DataFrame({"g": list("ab") * 6, "v": np.arange(12.0)})
    assert "no proof that they are equal" in statistics.compare(flat, "v", "g", resamples=10).summary()


def test_save_and_groups_that_are_numbers(tmp_path):
    table = pandas.DataFrame({"percent": [10, 10, 20, 20, 20], "dice": [0.1, 0.2, 0.5, 0.6, 0.7]})
    folder = statistics.compare(table, "dice", "percent", resamples=10).save(tmp_path / "new")
    kruskal = json.loads((folder / "kruskal.json").read_text())
    assert kruskal["n"] == {"10": 2, "20": 3} and kruskal["value"] == "dice"
    assert list(pandas.read_csv(folder / "posthoc.csv", index_col=0).columns) == ["10", "20"]
    assert len(pandas.read_csv(folder / "effects.csv")) == 1


# ---------------------------------------------------------------- refused with a clear line


def table_of(values, groups="aabb"):
    return pandas.DataFrame({"g": list(groups), "v": values})


@pytest.mark.parametrize(
    "table, words",
    [
        (table_of([1, 2, 3, 4], "aaaa"), "only the group 'a'"),
        (table_of([1, 2, 3, 4], "aaab"), "group 'b' of 'g' has a single value"),
        (table_of([1, 2, np.nan, 4]), "empty (NaN) or infinite in 1 of 4 rows, first in row 3"),
        (table_of([1, np.inf, 2, 4]), "infinite in 1 of 4 rows, first in row 2"),
        (table_of([2, 2, 2, 2]), "all values of 'v' are 2"),
        (table_of([1, 1, 2, 2]), "within each group"),
        (table_of([1, 2, "n/a", 4]), "must hold numbers, not 'n/a' (row 3)"),
        (table_of(["0,5", "0,6", "0,7", "0,8"]), "must hold numbers, not '0,5' (row 1)"),
        (table_of([True, False, True, False]), "must hold numbers, not"),
        (table_of([1, 2, 3, 4], ["a", "a", None, "b"]), "'g' is empty (NaN)"),
        (table_of(pandas.array([1, 2, None, 4], "Int64")), "first in row 3"),
        (table_of([1, 2, 3, 4]).rename(columns={"v": "w"}), "no column 'v': it has g, w"),
        (table_of([1, 2, 3, 4]).rename(columns={"g": "h"}), "no column 'g': it has h, v"),
        (pandas.DataFrame([[1, 2, "a"]], columns=["v", "v", "g"]), "2 columns 'v'"),
        (table_of([1, 2, 3, 4])[:0], "no rows"),
    ],
)
def test_bad_tables_are_refused_in_one_line(table, words):
    table.attrs["source"] = "my.csv"
    with pytest.raises(UserError) as caught:
        statistics.compare(table, "v", "g")
    assert words in str(caught.value) and "my.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "rows, words",
    [
        ([("a", 1, 1), ("a", 1, 2), ("b", 1, 1), ("c", 1, 3)], "group 'a' has 2 values in block '1'"),
        (
            [("a", 1, 1), ("b", 1, 2), ("c", 1, 1), ("a", 2, 3), ("b", 2, 5)],
            "group 'c' has 0 values in block '2'",
        ),
        ([("a", 1, 1), ("b", 1, 2), ("a", 2, 3), ("b", 2, 5)], "3 groups and 2 blocks or more, not 2 and 2"),
        ([(g, b, b) for g in "abc" for b in (1, 2)], "nothing to rank"),
    ],
)
def test_friedman_refuses_incomplete_blocks(rows, words):
    with pytest.raises(UserError) as caught:
        statistics.friedman(pandas.DataFrame(rows, columns=["g", "b", "v"]), "v", "g", "b")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", 1, 1.0), ("b", 1, 2.0), ("a", 1, 3.0), ("b", 1, 2.5), ("b", 1, 0.0)],  # one block
        [("a", 1, 1.0), ("b", 2, 2.0), ("a", 1, 3.0), ("b", 2, 2.5)],  # too few values
    ],
)
def test_mixed_refuses_what_it_cannot_fit(rows):
    with pytest.raises(UserError, match="a mixed model needs"):
        statistics.mixed(pandas.DataFrame(rows, columns=["g", "b", "v"]), "v", "g", "b")


# ---------------------------------------------------------------- tables and files


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "there is no table"),
        (b"", "no readable CSV"),
        (b"a,b\n1,2\n1,2,3\n", "no readable CSV"),
        (b"PK\x03\x04\xff\xfe", "no readable CSV"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, words):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        tables.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_select():
    assert tables.pick(pandas.DataFrame(columns=["m", "f1"]), "auto", ("dice", "f1"), "value") == "f1"
    with pytest.raises(
        UserError, match="value: the table has no column 'dice' or 'f1': set value to one that it has"
    ):
        tables.pick(pandas.DataFrame(columns=["m"]), "auto", ("dice", "f1"), "value")
    table = pandas.DataFrame({"t": [0.1, 0.5, 0.5, 0.30000000000000004], "m": ["x", "y", None, "x"]})
    assert len(tables.select(table, "")) == 4
    assert list(tables.select(table, "t=0.5, m=y").index) == [1]
    assert list(tables.select(table, "t = 0.3").index) == [3]
    assert list(tables.select(table, "m!=x").index) == [1, 2]
    for keep, words in (
        ("t>0.5", "no condition"),
        ("q=1", "no column 'q'"),
        ("t=high", "holds numbers"),
        ("m=z", "no row is left after 'm=z'"),
    ):
        with pytest.raises(UserError, match=words):
            tables.select(table, keep)


def test_data_path(tmp_path, monkeypatch):
    assert bundled.path("published/cell_counts.csv").is_file()
    with pytest.raises(UserError, match="nothing.csv is missing"):
        bundled.path("nothing.csv")
    installed = tmp_path / "site-packages" / "cellseg_nb"
    (installed / "bundle" / "data").mkdir(parents=True)
    (installed / "bundle" / "data" / "only_installed.csv").touch()
    monkeypatch.setattr("importlib.resources.files", lambda package: installed)
    assert bundled.path("only_installed.csv") == installed / "bundle" / "data" / "only_installed.csv"
    with pytest.raises(UserError, match="no folder notebooks"):
        bundled.folder("notebooks")


# ---------------------------------------------------------------- figures


def test_figures_say_what_they_should(once):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from cellseg_nb.plots import statistics as figures

    found = statistics.compare(once, "dice", "model", resamples=10)
    heat = figures.heatmap(found.posthoc).axes[0]
    texts = [text.get_text() for text in heat.texts]
    assert len(texts) == 8 * 7 and sum("*" in text for text in texts) == (found.posthoc < 0.05).sum().sum()
    assert all(text.get_fontsize() >= 11 for text in heat.texts)
    assert len(figures.boxes(once, "dice", "model").axes[0].get_xticklabels()) == 8
    forest = figures.forest(found.effects, PRETRAINED).axes[0]
    dots = [line.get_xdata()[0] for line in forest.lines[1::2]]
    shown = dict(zip((label.get_text() for label in forest.get_yticklabels()), dots))
    assert shown["SegResNet"] == pytest.approx(2 / 3) and shown["SwinUNetR"] == pytest.approx(-1 / 6)
    with pytest.raises(UserError, match="no group"):
        figures.forest(found.effects, "UNet")
    plt.close("all")
