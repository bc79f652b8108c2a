"""Finished runs that hear what another one says: how near the voice is to a recording's, and what they understand."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import soundfile
from rapidfuzz.distance import Levenshtein

from pegbox import places
from pegbox.recipe import Recipe
from pegbox.rows import Row
from pegbox.silence import audible
from pegbox.tasks import Asks, Prediction, Task
from pegbox.training.beside import Beside
from pegbox.training.kept import ARTEFACT, read
from pegbox.training.model import Tuned
from pegbox.training.prepare import heard
from pegbox.training.reopened import open_model, predict

_SHORTEST: Final = 0.1  # seconds: a network that says next to nothing is judged, too, with silence behind it


class Critics:
    """The runs that a task asks, each opened when it is needed first."""

    def __init__(self, task: Task, beside: Beside) -> None:
        self._asked, self._beside = task.critics if isinstance(task, Asks) else {}, beside
        self._models: dict[str, tuple[Tuned, Recipe]] = {}

    def hear(self, said: np.ndarray, rate: int, row: Row) -> Prediction:  # (samples,)
        """Returns what they say of sound that is meant to be a row's, as `samples/` keeps it: 16 bits at `rate` Hz."""
        found: Prediction = {}
        if not self._asked:
            return found
        with TemporaryDirectory() as place:
            path = Path(place) / "said.wav"
            soundfile.write(path, np.pad(said, (0, max(0, round(_SHORTEST * rate) - len(said)))), rate)
            for name in self._asked:
                model, recipe = self._model(name)
                sounds = Row(f"{row.id}, said", str(path), gain=recipe.gain), replace(row, gain=recipe.gain)
                found |= _JUDGES[name](model, *(_heard(each, recipe, Path(place)) for each in sounds))
        return found

    def _model(self, name: str) -> tuple[Tuned, Recipe]:
        if name not in self._models:
            folder, recipe, _ = read(Path(self._asked[name]))
            self._beside.take(f"run of {name}", places.digest(folder / ARTEFACT), str(folder))
            self._models[name] = open_model(folder, recipe), recipe
        return self._models[name]


def _heard(row: Row, recipe: Recipe, folder: Path) -> Row:
    """Returns a sound as a run of this recipe hears it; where it is silence throughout, as it is."""
    return heard([row], recipe, folder)[0] if recipe.silence and audible(row, recipe.silence) else row


def _similarity(model: Tuned, said: Row, true: Row) -> Prediction:
    """Returns the cosine of the embeddings of both sounds."""
    one, other = (np.array(each["embedding"]) for each in predict(model, [said, true]))
    return {"speaker_similarity": float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12))}


def _errors(model: Tuned, said: Row, true: Row) -> Prediction:
    """Returns what was understood, and for each of the task's error rates the edits and what should have been said."""
    (heard,) = predict(model, [said])
    text, wanted = heard["said"], model.task.truth(true.labels)
    rates = model.task.score([{"said": text, "true": wanted}])
    return {"heard": text} | {name: _edits(text, wanted, name == "cer") for name in rates}


def _edits(said: str, true: str, characters: bool) -> tuple[int, int]:
    one, other = (text.strip() if characters else text.split() for text in (true, said))
    return int(Levenshtein.distance(one, other)), len(one)


_JUDGES: Final[Mapping[str, Callable[[Tuned, Row, Row], Prediction]]] = {"verify": _similarity, "ctc": _errors}
