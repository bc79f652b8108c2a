"""The SUPERB score on the leaderboard's public rows of April 2022, whose last two columns are scores."""

import pytest

from pegbox.bench import superb
from pegbox.errors import RecipeError

LEADERBOARD = """
FBANK 82.01 23.18 41.38 0.58 20.06 9.56 10.05 9.65 69.64 52.94 48.24 2.32 2.55 93.6 9.2341 0 0
PASE+ 58.87 25.11 82.54 0.72 37.99 11.61 8.68 29.82 62.14 60.17 57.86 3.16 2.56 93.9 9.87 149 169
APC 41.98 21.28 91.01 3.10 60.42 8.56 10.53 74.69 70.46 50.89 59.33 5.95 2.5567 93.4 8.92 392 206
Mockingjay 70.19 22.82 83.67 0.066 32.29 11.66 10.54 34.33 61.59 58.89 50.28 4.45 2.5305 93.4 9.29 54 -32
TERA 49.17 18.17 89.48 0.13 57.57 15.89 9.96 58.42 67.50 54.17 56.27 5.24 2.5422 93.6 10.19 150 106
wav2vec 31.58 15.86 95.59 4.85 56.56 7.99 9.90 84.92 76.37 43.71 59.79 6.61 2.53 93.8 9.30 529 350
wav2vec2-base 5.74 6.43 96.23 2.33 75.18 6.02 6.08 92.35 88.30 24.77 63.43 14.81 2.55 93.9 9.77 818 674
wav2vec2-large 4.75 3.75 96.66 4.89 86.14 5.65 5.62 95.28 87.11 27.31 65.64 14.07 2.52 94.0 10.02 914 781
HuBERT-base 5.41 6.42 96.30 7.36 81.42 5.11 5.88 98.34 88.53 25.20 64.92 15.53 2.58 93.9 9.36 941 778
HuBERT-large 3.53 3.62 95.29 3.53 90.33 5.98 5.75 98.76 89.81 21.76 67.62 20.01 2.64 94.2 10.45 919 921
WavLM-base 4.84 6.21 96.79 8.70 84.51 4.69 4.55 98.63 89.38 22.86 65.94 20.74 2.581 94.01 10.37 1019 970
WavLM-base+ 3.92 5.59 97.37 9.88 89.42 4.07 3.50 99.00 90.58 21.20 68.65 24.25 2.627 94.25 10.85 1106 1155
WavLM-large 3.06 3.44 97.86 8.86 95.49 3.77 3.24 99.31 92.21 18.36 70.62 26.57 2.700 94.49 11.19 1145 1286
"""
COLUMNS = (
    *(("PR", "per"), ("ASR", "wer"), ("KS", "accuracy"), ("QbE", "mtwv"), ("SID", "accuracy"), ("ASV", "eer")),
    *(("SD", "der"), ("IC", "accuracy"), ("SF", "slot_type_f1"), ("SF", "slot_value_cer"), ("ER", "accuracy")),
    *(("ST", "bleu"), ("SE", "pesq"), ("SE", "stoi"), ("SS", "si_sdr_improvement")),
)
WHOLE = {("ST", "bleu"), ("SE", "pesq"), ("SS", "si_sdr_improvement")}


@pytest.mark.parametrize("line", LEADERBOARD.split("\n")[1:-1])
def test_the_superb_score_is_that_of_the_leaderboard(line: str) -> None:
    name, *cells = line.split()
    *values, paper, public = map(float, cells)
    results: dict[str, dict[str, float]] = {}
    for (task, score), value in zip(COLUMNS, values, strict=True):
        results.setdefault(task, {})[score] = value if (task, score) in WHOLE else value / 100
    for tasks, wanted in ((superb.PAPER, paper), (superb.PUBLIC, public)):
        found = superb.superb_score({task: results[task] for task in tasks})
        assert found == pytest.approx(wanted, abs=0.6 if name != "FBANK" else 0.05), (name, tasks)  # rounded rows


def test_what_is_missing_or_unknown_is_refused() -> None:
    with pytest.raises(RecipeError, match="no task 'ASR2'"):
        superb.superb_score({"ASR2": {"wer": 0.1}})
    with pytest.raises(RecipeError, match="SF lacks slot_value_cer; its scores are"):
        superb.superb_score({"SF": {"slot_type_f1": 0.9}})
    with pytest.raises(RecipeError, match="no results"):
        superb.superb_score({})
