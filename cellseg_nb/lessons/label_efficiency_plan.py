"""Notebook 06: which runs there are, and what each may learn from."""

from cellseg_nb.data import splitting
from cellseg_nb.errors import UserError

PRETRAINED = "wnet3d_pretrained"
SEEDS = [34936339, 34936397, 34936345]  # the authors' for WNet3D; the other methods have the first alone


def jobs(choice, plan):
    """Every run of the grid as a dict: method, fold, volume (held out), training_percent, seed.

    In an order that finishes a first complete comparison early, and lets the time left be estimated. What is
    trained already is tested once, with 0 %. In the profile paper as published:
    WNet3D learns on the first fold alone, with every seed; the others with one seed, unless you name several.
    """
    runs = plan[["seed", "fold", "held_out", "percentage"]].drop_duplicates()
    first = runs.iloc[0]
    paper, named = choice["profile"] == "paper", choice["seeds"] != SEEDS

    def wanted(job):
        if job["method"] == PRETRAINED:
            return job["seed"] == first.seed and job["training_percent"] == first.percentage
        if job["method"] == "wnet3d":
            return not paper or job["fold"] == first.fold
        return not paper or named or job["seed"] == first.seed

    every = [
        {"method": name, "fold": fold, "volume": volume, "training_percent": percent, "seed": seed}
        for seed, fold, volume, percent in runs.itertuples(index=False)
        for name in choice["methods"]
    ]
    found = [job for job in every if wanted(job)]
    return [job | ({"training_percent": 0} if job["method"] == PRETRAINED else {}) for job in found]


def without_artefacts(rows, clean):
    """Those rows of a plan whose cubes end before the artefact of their volume, {name: slices before it}."""
    ends = rows.volume.map(clean)
    return rows[ends.isna() | (rows.z + rows.depth <= ends)]


def training_cubes(every, plan, job, clean=None):
    """The cubes a run may learn from: images, labels (lists of (z, y, x)), and their rows of the plan.

    They depend on the fold, the percentage and the seed only: every method gets the same ones. With
    ``clean``, WNet3D gets only those that touch no artefact. Raises UserError when none is left.
    """
    rows = plan[
        (plan.seed == job["seed"])
        & (plan.fold == job["fold"])
        & (plan.percentage == job["training_percent"])
        & (plan.role == "training")
    ]
    assert not (rows.volume == job["volume"]).any()
    if clean and job["method"] == "wnet3d":
        rows = without_artefacts(rows, clean)
        if rows.empty:
            raise UserError(
                f"every cube for {job['training_percent']} % touches an artefact, and WNet3D must see none: "
                "choose a larger percentage, another seed, or artefact_from none"
            )
    named = {volume.name: volume for volume in every}
    images = [splitting.cut(named[row["volume"]].image, row) for row in rows.to_dict("records")]
    labels = [splitting.cut(named[row["volume"]].labels, row) for row in rows.to_dict("records")]
    return images, labels, rows
