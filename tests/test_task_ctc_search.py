"""CTC by beam search with an n-gram language model: the best of all paths, what it repairs, what is refused."""

import gzip
import json
from itertools import groupby, product
from pathlib import Path

import pytest
import torch
from _texts import save_texts

import pegbox
from pegbox import tasks
from pegbox.errors import RecipeError, WeightsError
from pegbox.training.loop import Validated

pytest.importorskip("flashlight.lib.text", reason="flashlight-text is not installed: pegbox[lm]")

UNITS = ("<blank>", " ", "a", "b")
ONES = {"<unk>": (-9.0, 0.0), "<s>": (-99.0, -0.3), "</s>": (-0.8, 0.0), "ab": (-0.5, -0.2), "ba": (-0.9, -0.1)}
ONES |= {"b": (-1.1, -0.4), "bb": (-0.7, -0.6)}
TWOS = {("<s>", "ab"): -0.2, ("ab", "ba"): -0.4, ("b", "</s>"): -0.1, ("bb", "b"): -0.9, ("<s>", "</s>"): -2.5}


def arpa(folder: Path, ones: dict[str, tuple[float, float]] = ONES, twos: dict[tuple[str, str], float] = TWOS) -> Path:
    """Writes a bigram model: log10 chance and back-off by word, and log10 chance by pair."""
    lines = ["\\data\\", f"ngram 1={len(ones)}", f"ngram 2={len(twos)}", "", "\\1-grams:"]
    lines += [f"{chance}\t{word}\t{back}" for word, (chance, back) in ones.items()]
    lines += ["", "\\2-grams:", *(f"{chance}\t{' '.join(pair)}" for pair, chance in twos.items()), "", "\\end\\", ""]
    path = folder / "two.arpa"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def likely(words: tuple[str, ...]) -> float:
    """Returns the log10 chance of words and of the end behind them."""
    pairs = zip(("<s>", *words), (*words, "</s>"), strict=True)
    return sum(TWOS.get(pair, ONES[pair[0]][1] + ONES[pair[1]][0]) for pair in pairs)


def best(chances: torch.Tensor, weight: float, word_score: float) -> str:  # (time, units)
    """Returns the best words of all paths, of which every one is looked at."""
    found: dict[tuple[str, ...], float] = {}
    rows = chances.tolist()
    for path in product(range(len(UNITS)), repeat=len(rows)):
        words = tuple("".join(UNITS[number] for number, _ in groupby(path) if number).split())
        if set(words) <= {"ab", "ba", "b", "bb"}:
            heard = sum(row[number] for row, number in zip(rows, path, strict=True))
            found[words] = max(found.get(words, -1e9), heard)
    return " ".join(max(found, key=lambda words: found[words] + weight * likely(words) + word_score * len(words)))


def shown(text: str, units: tuple[str, ...], doubts: dict[int, tuple[str, float]] | None = None) -> torch.Tensor:
    """Logits that show a text, a letter in a frame and a blank in the next; doubts are what is a little likelier."""
    logits = torch.zeros(1, 2 * len(text), len(units))
    for place, letter in enumerate(text):
        logits[0, 2 * place, units.index(letter)] = 6.0
        logits[0, 2 * place + 1, 0] = 6.0
    for place, (letter, more) in (doubts or {}).items():
        logits[0, 2 * place, units.index(letter)] = 6.0 + more
    return logits


@pytest.mark.parametrize(("weight", "word_score"), [(0.0, 0.0), (1.0, 0.0), (2.0, -1.0), (0.7, 1.5)])
def test_it_finds_the_best_of_all_paths(weight: float, word_score: float, tmp_path: Path) -> None:
    options = f"beam=500, beam_threshold=1e4, lm_weight={weight}, word_score={word_score}"
    task = tasks.build(f'ctc(lm="{arpa(tmp_path)}", looks="beam", {options})')
    logits = 2 * torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(0))
    said = [row["said"] for row in task.decode(logits, torch.tensor([6] * 7 + [4]), UNITS)]
    chances = logits.log_softmax(-1)
    assert said == [best(clip, weight, word_score) for clip in [*chances[:7], chances[7, :4]]]
    assert len(set(said)) > 2


def test_it_repairs_what_greedy_decoding_gets_wrong(tmp_path: Path) -> None:
    ones = {"<unk>": (-9.0, 0.0), "<s>": (-99.0, -0.5), "</s>": (-1.0, 0.0)}
    ones |= dict.fromkeys(("the", "then", "cat", "cut", "sat", "on", "mat", "met"), (-1.5, -0.5))
    twos = {("the", "cat"): -0.3, ("cat", "sat"): -0.3, ("sat", "on"): -0.2, ("on", "the"): -0.2, ("the", "mat"): -0.4}
    units = ("<blank>", " ", *sorted({*"thecatuonsm"}))
    lm, text = arpa(tmp_path, ones, twos), "the cat sat on the mat"
    logits = shown(text, units, {5: ("u", 0.5), 12: ("m", 0.5), 20: ("e", 1.0)})
    frames = torch.tensor([logits.shape[1]])

    def row(options: str) -> dict[str, str]:
        task = tasks.build(f'ctc(label="text", lm="{lm}", {options})')
        return task.searching().decode(logits, frames, units)[0]

    wrong = "the cut sat mn the met"
    assert row("beam=50") == {"said": text, "greedy": wrong}
    assert row("beam=50, lm_weight=0.0, word_score=0.0") == {"said": "the cut sat on the met", "greedy": wrong}
    (tmp_path / "few.txt").write_text("the t h e\ncut c u t\nsat s a t\non\nmet\n")
    assert row(f'words="{tmp_path}/few.txt"')["said"] == "the cut sat on the met"
    task = tasks.build(f'ctc(label="text", lm="{lm}")')
    assert task.decode(logits, frames, units) == [{"said": wrong}]  # in training
    scores = task.score([{"true": text, **row("beam=50")}])
    assert scores == {"wer": 0.0, "cer": 0.0, "greedy_wer": 0.5, "greedy_cer": 3 / 22}


def test_the_reference_has_a_bar_between_words_and_an_end_symbol(tmp_path: Path) -> None:
    ones = {word.upper() if word.isalpha() else word: chances for word, chances in ONES.items()}
    lm = arpa(tmp_path, ones, {("AB", "BA"): -0.4})
    packed = tmp_path / "two.arpa.gz"
    packed.write_bytes(gzip.compress(lm.read_bytes()))
    for path in (lm, packed):
        task = tasks.build(f'ctc(label="text", protocol="reference", lm="{path}")')
        units = task.vocabulary({"train": [{"text": "ab ba"}]})
        logits = shown("AB|BA|", units)
        logits = torch.cat([logits, torch.eye(32)[None, [2, 0]] * 6], 1)  # </s>
        assert task.searching().decode(logits, torch.tensor([14]), units) == [{"said": "AB BA", "greedy": "AB BA"}]


def test_a_run_searches_once_it_is_trained(hubert: Path, tmp_path: Path) -> None:
    lines = save_texts(tmp_path / "clips", 14)
    words = {word for line in lines.read_text().splitlines() for word in json.loads(line)["transcript"].split()}
    marks = {"<unk>": (-9.0, 0.0), "<s>": (-99.0, -0.3), "</s>": (-0.8, 0.0)}
    lm = arpa(tmp_path, marks | dict.fromkeys(sorted(words), (-1.3, -0.1)), {("<s>", min(words)): -1.0})
    recipe = {
        "backbone": str(hubert),
        "method": "weighted_sum",
        "task": f'ctc(lm="{lm}", beam=20, lm_weight=0.5, word_score=4.0)',
        "corpus": f'manifest(path="{lines}")',
        "train": {"epochs": 2, "batch_clips": 4},
    }
    looks = []
    result = pegbox.train(recipe, tmp_path / "run", lambda event, _: looks.append(event))
    run = pegbox.load(tmp_path / "run")
    scores = result["scores"]["test"]
    assert set(scores) == {"wer", "cer", "greedy_wer", "greedy_cer"} and run.evaluate("test") == scores
    kept = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    (row,) = run.predict([tmp_path / "clips" / f"{kept[-1]['id']}"])
    assert all(set(each["said"].split()) <= words for each in kept) and any(each["said"] for each in kept)
    assert (row["said"], row["greedy"]) == (kept[-1]["said"], kept[-1]["greedy"])
    seen = [set(event.scores) for event in looks if isinstance(event, Validated)]
    assert seen and all(names == {"wer", "cer"} for names in seen)  # in training it is greedy
    assert set(result["beside"]) == {"language model"}
    lm.write_text(lm.read_text().replace("-9.0", "-8.0"))
    with pytest.raises(WeightsError, match="made with a language model of digest"):
        pegbox.load(tmp_path / "run").evaluate("test")
    lm.unlink()
    with pytest.raises(WeightsError, match="the language model cannot be read"):
        pegbox.load(tmp_path / "run").evaluate("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("beam=20", "without its language model; give lm"),
        ('words="w.txt"', "without its language model; give lm"),
        ('looks="beam"', "no search without a language model"),
        ('lm="x", unit="phoneme"', 'for unit="character"'),
        ('lm="x", units=["a"]', 'for unit="character"'),
        ('lm="x", beam=0', r"ctc\(beam=0, .*a beam of 1 or more"),
        ('lm="x", beam_threshold=0.0', "a threshold above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        tasks.build(f"ctc({options})")


def test_a_check_refuses_files_that_are_no_language_model(tmp_path: Path) -> None:
    good, split = arpa(tmp_path), {"train": [{"transcript": "ab ba"}]}
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "half.gz").write_bytes(gzip.compress(good.read_bytes())[:9])
    (tmp_path / "lm.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\x00")
    assert tasks.build(f'ctc(lm="{good}")').vocabulary(split) == UNITS
    refused = {
        'lm="nowhere.arpa"': "nowhere.arpa.*No such file",
        f'lm="{tmp_path}"': "Is a directory",
        f'lm="{tmp_path}/notes.txt"': r"neither an ARPA file.*begins with b'nothing'",
        f'lm="{tmp_path}/half.gz"': "half.gz.*cannot be read",
        f'lm="{tmp_path}/lm.bin"': "a binary does not tell its words; give words",
        f'lm="{good}", words="nowhere.txt"': "nowhere.txt.*no such file",
    }
    for options, message in refused.items():
        with pytest.raises(RecipeError, match=message):
            tasks.build(f"ctc({options})").vocabulary(split)
    with pytest.raises(RecipeError, match="the outputs lack ' '"):
        tasks.build(f'ctc(lm="{good}")').vocabulary({"train": [{"transcript": "ab"}]})


def test_words_that_cannot_be_said_are_refused(tmp_path: Path) -> None:
    good, broken, split = arpa(tmp_path), tmp_path / "broken.arpa", {"train": [{"transcript": "ab ba"}]}
    broken.write_text(good.read_text().replace("ngram 2=5", "ngram 2=50"))
    (tmp_path / "bytes.txt").write_bytes(b"ab\n\xff\n")
    with pytest.raises(RecipeError, match=r"none of its words can be spelt in the outputs .*in the same case"):
        tasks.build(f'ctc(lm="{good}", protocol="reference")').vocabulary(split)
    with pytest.raises(RecipeError, match=r"bytes\.txt: its words cannot be read.*write UTF-8"):
        tasks.build(f'ctc(lm="{good}", words="{tmp_path}/bytes.txt")').vocabulary(split)
    task = tasks.build(f'ctc(lm="{broken}")')
    assert task.vocabulary(split) == UNITS  # KenLM reads its pairs only for a search
    with pytest.raises(RecipeError, match=r"broken\.arpa: KenLM cannot read it"):
        task.searching().decode(torch.zeros(1, 3, 4), torch.tensor([3]), UNITS)
