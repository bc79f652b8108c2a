"""Corpora: one file each, rows of labelled audio. A corpus knows no loss."""

from typing import Protocol

from pegbox import registry
from pegbox.corpora._fetch import Fetched as Fetched
from pegbox.corpora._fetch import fetch as fetch
from pegbox.rows import Row


class Corpus(Protocol):
    """What a corpus file must offer."""

    @property
    def disjoint(self) -> str | None:
        """The label of which no value may stand in two splits."""

    @property
    def stratify(self) -> str | None:
        """The label over whose values a draw of splits is even."""

    def rows(self) -> list[Row]:
        """Returns the rows with splits, by id; opens no audio."""


def build(spec: str) -> Corpus:
    """Returns the corpus that a spec such as `folder(root="clips")` means."""
    corpus: Corpus = registry.build("corpora", registry.parse(spec, "corpus")[0], "corpus")
    return corpus
