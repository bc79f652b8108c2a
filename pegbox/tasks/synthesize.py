"""Speech synthesis: phonemes or texts and a voice to speech, learnt by the network's own losses, as in SURE.

SURE is Li et al., ICASSP 2023 (arXiv:2303.03267). Scores are those of `_speech_scores`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from pegbox.errors import CorpusError, RecipeError
from pegbox.mel import cepstra
from pegbox.tasks import _speech_scores
from pegbox.tasks._labels import column, label
from pegbox.tasks._speech_scores import Heard


@dataclass(frozen=True)
class Synthesize:
    """A network that reads units learns clips by their `times`, JSON: [unit, start, end] in seconds; `label` holds the
    same units as a text. One that reads texts learns the label `text`.

    With `align` clips may lack `times`: the network as it is says the units of `label`, or else of `text`, and dynamic
    time warping carries its times over to the recording.
    `voice` is which of the network's own voices speaks, and is tuned to the corpus's: a number, or "nearest", that
    whose loss on clips of the training split is lowest before anything is tuned. `embedding` is a .npy file with what
    tells a network such as SpeechT5 the voice. Nothing is trained beside the method. The best step is chosen by
    `mel_mcd`, the distortion of the frames that the network makes, before they become sound; one that speaks frame
    after frame is told the recording's before each of them. `mcd`, `mcd_unwarped`, `log_f0_rmse` and `voicing_error`
    are of the sound, `duration_error` is the mean difference of a unit's length in milliseconds. `verifier` and
    `transcriber` are folders of finished runs of `verify` and `ctc`, which hear the test part: `speaker_similarity`,
    and `wer` with `cer`, or `per`. `vocoder` is the hub id or folder of a HiFi-GAN; without one, Griffin-Lim makes the
    sound of Mel frames.
    """

    label: str = "phonemes"
    voice: int | Literal["nearest"] = "nearest"
    align: bool = False
    text: str = "transcript"
    embedding: str = ""
    vocoder: str = ""
    verifier: str = ""
    transcriber: str = ""

    metric: ClassVar[str] = "mel_mcd"
    better: ClassVar[Literal["max", "min"]] = "min"
    framewise: ClassVar[bool] = True
    pools: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.voice, int) and self.voice < 0:
            raise RecipeError(f"synthesize(voice={self.voice}): voices are counted from 0")

    @property
    def aligned_by(self) -> tuple[str, str] | None:
        """The labels of units and texts by which clips without times are aligned; None where they are refused."""
        return (self.label, self.text) if self.align else None

    @property
    def critics(self) -> dict[str, str]:
        """The folders of the runs that hear the test part, by their task."""
        given = {"verify": self.verifier, "ctc": self.transcriber}
        return {task: folder for task, folder in given.items() if folder}

    def vocabulary(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, ...]:
        """Returns the units of the training split, none where they are aligned; refuses clips that cannot be learnt."""
        for split, rows in splits.items():
            if self.align:
                self._check_alignable(rows, split)
            elif not any("times" in row for row in rows):
                raise CorpusError(
                    f"the rows of '{split}' have no label 'times'; with synthesize(align=True) the network tells them"
                )
            for name in (self.label, "times"):
                column([row for row in rows if "times" in row or not self.align], name, split)
        return () if self.align else tuple(sorted({u for row in splits["train"] for u in row[self.label].split()}))

    def texts(self, splits: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        """Refuses clips without a text, and times to come, where the network learns from texts."""
        if self.align:
            raise RecipeError("synthesize(align=True): the network learns from texts and needs no times; leave it out")
        for split, rows in splits.items():
            column(rows, self.text, split)

    def least_frames(self, labels: Mapping[str, str]) -> int:
        """Returns 1: a unit may have no frame at all."""
        return 1

    def head(self, width: int, vocabulary: tuple[str, ...]) -> nn.Module:
        """Returns nothing to train: the network has its own way to Mel frames."""
        return nn.Identity()

    def distance(self, said: Tensor, true: Tensor) -> dict[str, float]:  # (time, bands), (other time, bands)
        """Returns the distortion of log-Mel frames, paired by dynamic time warping, as `mel_mcd`."""
        return {"mel_mcd": _speech_scores.warped(cepstra(said).numpy(), cepstra(true).numpy())}

    def judge(self, said: Heard, true: Heard) -> dict[str, float]:
        """Returns what the scores of sound are made of."""
        return _speech_scores.compare(said, true)

    def truth(self, labels: Mapping[str, str]) -> str:
        """Returns the units."""
        return " ".join(label(labels, self.label).split())

    def score(self, predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Returns the scores of a set; of clips that have not become sound, those of frames and durations only."""
        return _speech_scores.mean_scores(predictions)

    def _check_alignable(self, rows: Sequence[Mapping[str, str]], split: str) -> None:
        missing = sum(not any(row.get(name, "").strip() for name in ("times", self.label, self.text)) for row in rows)
        if missing:
            raise CorpusError(
                f"{missing} of {len(rows)} rows of '{split}' have neither '{self.label}' nor a text in '{self.text}'; "
                "fill them or filter them out"
            )
