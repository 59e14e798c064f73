"""The site: Sphinx with MyST-NB, since its theme is a package. `make docs` builds it; a warning is an error.

Jupyter Book 2 (mystmd) would do as well, but fetches its theme from a server: nobody could build these
pages without a network.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cellseg_nb import __version__  # noqa: E402

project, author, release = "cellseg-nb", "the cellseg-nb developers", __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_title = f"cellseg-nb {__version__}"
default_role = "literal"  # `name` in a docstring
nb_execution_mode = "off"  # the notebooks arrive as executed
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # of torch's classes: they refer to pages of torch
napoleon_google_docstring = False
napoleon_use_rtype = False
# highlighting: a notebook that was not executed says no language, and its magics are no Python
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header", "misc.highlighting_failure"]


def setup(app):
    app.connect("autodoc-process-docstring", readable, priority=100)  # before napoleon's own, at 500


def readable(app, what, name, obj, options, lines):
    """A docstring as reStructuredText takes it: |A| is a size here, and a list of parameters ends with them.

    What is said behind that list, without a heading of its own, would be taken for more parameters.
    """
    found, listed = [], False
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        if after and set(after) == {"-"}:
            listed = line == "Parameters"
        elif listed and line and not line.startswith(" ") and number and not lines[number - 1]:
            found += ["Notes", "-----"]
            listed = False
        found.append(line if "``" in line else line.replace("|", "\\|"))
    lines[:] = found
