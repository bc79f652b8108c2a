"""One table in Markdown, CSV and LaTeX, with everything escaped that would be read as markup."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>|~#])")
_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "·": r"$\cdot$",
    "–": "--",
    "−": "$-$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """A title, column names and rows of plain text; the first `texts` columns stand left, numbers right."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    texts: int = 1


def markdown(table: Table) -> str:
    """Returns the table in Markdown."""
    rule = ["---"] * table.texts + ["---:"] * (len(table.head) - table.texts)
    lines = [[_plain(cell) for cell in table.head], rule, *([_plain(cell) for cell in row] for row in table.rows)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"### {_plain(table.title)}\n\n{body}\n"


def comma_separated(table: Table) -> str:
    """Returns the table as CSV, without its title."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.head, *table.rows])
    return out.getvalue()


def latex(table: Table) -> str:
    r"""Returns a LaTeX table in booktabs' style; needs \usepackage{booktabs}, and textcomp's \textquotedbl by T1."""
    columns = "l" * table.texts + "r" * (len(table.head) - table.texts)
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in (table.head, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Returns text as LaTeX prints it, on one line."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
