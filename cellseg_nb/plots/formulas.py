"""Formulas of a text as pictures: a report shows them without a network, from which MathJax would come."""

import base64
import io
import re

PARAGRAPH = r"(?:(?!\n\s*\n)(?s:.))+?"  # text without an empty line
# Between fences, or between as many backticks.
FENCED = r"^ {0,3}(?P<fence>```+(?![^\n]*`)|~~~+)(?s:.*?)(?:^ {0,3}(?P=fence)|\Z)"
CODE = rf"{FENCED}|(?<!`)(?P<ticks>`+)(?!`){PARAGRAPH}(?<!`)(?P=ticks)(?!`)"
# As pandoc has it: no blank inside the $, no digit behind. Nor a letter beside them, as in a shell's $A$B.
INLINE = r"(?<![\w\\$])\$(?P<inline>[^\s$](?:[^\n$]*[^\s$])?)\$(?!\w)"
FORMULA = rf"\$\$(?P<block>{PARAGRAPH})\$\$|{INLINE}"


def drawn(text):
    """A text in Markdown with its formulas, between $ or $$, as SVG. What is code stays as it is, and so does
    a formula with words that matplotlib's mathtext does not know."""
    return re.sub(f"{CODE}|{FORMULA}", _picture, text, flags=re.MULTILINE)


def _picture(found):
    from matplotlib import font_manager, mathtext

    formula = " ".join((found["block"] or found["inline"] or "").split())
    if not formula:
        return found[0]
    size = 11
    if found["block"]:
        size, formula = 13, formula.replace(r"\frac", r"\dfrac")
    svg, font = io.BytesIO(), font_manager.FontProperties(size=size, math_fontfamily="cm")
    try:
        depth = mathtext.math_to_image(f"${formula}$", svg, prop=font, format="svg")
    except ValueError:
        return found[0]
    style = "display: block; margin: 1em auto" if found["block"] else f"vertical-align: {-depth:.1f}pt"
    words = formula.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    coded = base64.b64encode(svg.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{coded}" alt="{words}" style="{style}">'
