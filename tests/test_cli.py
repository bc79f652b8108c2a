"""The command line end to end: train, show, eval, predict; and every bad input with its exit code and one message."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from _made import RATE, save_hubert, save_tones
from safetensors import safe_open

import pegbox
from pegbox import recipe as recipe_
from pegbox import registry, tasks
from pegbox.cli import main
from pegbox.errors import CorpusError

TASK = 'classify(label="class")'
QUICK = ("--set", "train.epochs=2", "--set", "train.batch_clips=8")
CLASSES = ["high", "low", "mid"]


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def process(*args: object, cache: Path) -> Said:
    """Runs the command line as users do."""
    env = {**os.environ, "PEGBOX_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pegbox", *map(str, args)], capture_output=True, text=True, env=env, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line's entry point in this process: importing torch once is enough."""

    def call(*args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["pegbox", *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Said(code, *capfd.readouterr())

    return call


@dataclass(frozen=True)
class Trained:
    """A finished run and what the training command said."""

    folder: Path
    said: Said
    result: dict[str, Any]


def noun_flags(hubert: Path, tones: Path, **others: object) -> list[object]:
    nouns = {"backbone": hubert, "method": "lora(rank=2)", "task": TASK, "corpus": f'folder(root="{tones}")'} | others
    return [word for name, value in nouns.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def trained(hubert: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("cli")
    folder = place / "run"
    words = ("train", *noun_flags(hubert, tones), *QUICK, "--out", folder, "--json")
    said = process(*words, cache=place / "cache")
    assert said.code == 0, said.err
    return Trained(folder, said, json.loads((folder / "result.json").read_text()))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- a run --------------------------------------------------------------------------------------------------------


def test_json_is_all_that_training_prints_with_json(trained):
    printed = json.loads(trained.said.out)
    assert {key: printed[key] for key in trained.result} == trained.result
    assert trained.said.err == ""


def test_the_result_has_what_is_promised(trained, hubert, tones):
    result = trained.result
    names = {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"}
    assert {split: {*scores} for split, scores in result["scores"].items()} == {"valid": names, "test": names}
    assert all(0 <= value <= 1 for scores in result["scores"].values() for value in scores.values())
    backbone = pegbox.load_backbone(str(hubert))
    own = sum(tensor.numel() for tensor in backbone.core.parameters())
    lora = 2 * 2 * 2 * (16 + 16)  # two blocks, q and v, rank 2 in and out
    head = 16 * 256 + 256 + 256 * 3 + 3
    assert result["parameters"] == {"delta": lora, "layers": 3, "head": head, "backbone": own, "share": lora / own}
    assert {*result["seconds"]} == {"load", "prepare", "cache", "train", "validate", "test"}
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert result["peak_memory_mb"] > 50
    assert result["backbone"] == backbone.digest
    assert result["artefact_bytes"] == (trained.folder / "delta.safetensors").stat().st_size
    assert result["recipe"] == recipe_.make(recipe_.read(trained.folder / "recipe.toml")).digest
    assert sum(result["clips"].values()) == len([*tones.glob("*/*.flac")]) == 36
    assert (result["metric"], result["better"], result["outputs"]) == ("accuracy", "max", 3)


def test_the_folder_is_whole_and_holds_no_pickle(trained):
    files = sorted(path for path in trained.folder.rglob("*") if path.is_file())
    names = {path.name for path in files if path.parent == trained.folder}
    assert names == {
        "recipe.toml",
        "delta.safetensors",
        "log.jsonl",
        "predictions.jsonl",
        "result.json",
        "env.json",
    }
    assert any("tfevents" in path.name for path in files)
    pickles = {b"PK", *(bytes([0x80, protocol]) for protocol in range(6))}  # a zip is what torch.save writes
    assert not [path for path in files if path.suffix != ".safetensors" and path.read_bytes()[:2] in pickles]
    with safe_open(trained.folder / "delta.safetensors", framework="pt") as file:
        kinds = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118, not a dict
    assert kinds == {"delta", "layers", "head"}


def test_predictions_can_be_scored_again_without_a_model(trained):
    rows = lines_of(trained.folder / "predictions.jsonl")
    for split, scores in trained.result["scores"].items():
        mine = [row for row in rows if row["split"] == split]
        assert len(mine) == trained.result["clips"][split]
        assert tasks.build(TASK).score(mine) == scores


def test_show(trained, cli, tmp_path):
    found = cli("show", trained.folder, "--json")
    assert (found.code, found.err) == (0, "")
    assert json.loads(found.out) == trained.result
    text = cli("show", trained.folder)
    assert f"{trained.result['parameters']['delta']:,}" in text.out
    assert f"{trained.result['scores']['test']['accuracy']:.4f}" in text.out
    assert f"{trained.result['artefact_bytes']:,} bytes" in text.out
    drawn = cli("show", trained.folder, "--curve", tmp_path / "curve.png")
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "curve.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("split", ["valid", "test"])
def test_eval_gives_the_scores_of_training_again(split, trained, cli):
    found = cli("eval", trained.folder, "--split", split, "--json")
    assert (found.code, found.err) == (0, "")
    assert json.loads(found.out) == trained.result["scores"][split]


def test_eval_on_another_corpus(trained, cli, tmp_path):
    other = save_tones(tmp_path / "other", clips=5)
    found = cli("eval", trained.folder, "--corpus", f'folder(root="{other}", test=0.4)', "--json")
    assert (found.code, found.err) == (0, "")
    assert {*json.loads(found.out)} == {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"}
    table = cli("eval", trained.folder, "--split", "train")
    assert "accuracy" in table.out
    assert "macro_f1" in table.out


def test_predict_says_what_training_said(trained, tones, cli):
    kept = [row for row in lines_of(trained.folder / "predictions.jsonl") if row["split"] == "test"]
    files = [tones / row["id"] for row in kept]
    as_csv = cli("predict", trained.folder, *files)
    as_json = cli("predict", trained.folder, *files, "--format", "json")
    assert (as_csv.code, as_csv.err, as_json.code, as_json.err) == (0, "", 0, "")
    table = list(csv.DictReader(io.StringIO(as_csv.out)))
    rows = [json.loads(line) for line in as_json.out.splitlines()]
    assert [row["id"] for row in table] == [row["id"] for row in rows] == [str(path) for path in files]
    assert list(table[0]) == ["id", "said", *(f"p({name})" for name in CLASSES)]
    for line, row, known in zip(table, rows, kept, strict=True):
        assert line["said"] == row["said"] == known["said"]
        assert row["probabilities"] == pytest.approx(known["probabilities"], abs=1e-5)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert [float(line[f"p({name})"]) for name in CLASSES] == pytest.approx(
            [row["probabilities"][name] for name in CLASSES], abs=1e-6
        )


def test_predict_takes_audio_of_any_rate_and_the_same_file_twice(trained, tmp_path, cli):
    path = tmp_path / "stereo, with a comma.wav"
    wave = np.sin(np.arange(22_050) / 10)
    soundfile.write(path, np.stack([wave, wave], 1), 44_100)
    found = cli("predict", trained.folder, path, path)
    assert (found.code, found.err) == (0, "")
    one, two = csv.DictReader(io.StringIO(found.out))
    assert one == two
    assert one["id"] == str(path)


def test_a_moved_backbone_is_found_by_flag(trained, hubert, tones, cli, tmp_path):
    moved = save_hubert(tmp_path / "moved")
    path = next(tones.glob("low/*.flac"))
    here, there = cli("predict", trained.folder, path), cli("predict", trained.folder, path, "--backbone", moved)
    assert (there.code, there.out) == (0, here.out)


def test_a_file_with_flags_over_it_trains_the_same_experiment(trained, hubert, cli, tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text((trained.folder / "recipe.toml").read_text().replace("rank=2", "rank=3"))
    said = cli("train", file, "--method", "lora(rank=2)", "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    again = json.loads(said.out)
    assert again["recipe"] == trained.result["recipe"]
    assert again["scores"] == trained.result["scores"]


def test_check_tells_counts_without_weights_and_audio(trained, hubert, tones, cli, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (bare / name).write_bytes((hubert / name).read_bytes())
    found = cli("check", *noun_flags(bare, tones), *QUICK, "--json")
    assert (found.code, found.err) == (0, "")
    planned = json.loads(found.out)
    counts = {key: value for key, value in trained.result["parameters"].items() if key != "share"}
    assert planned["parameters"] == counts
    assert planned["share"] == trained.result["parameters"]["share"]
    assert planned["clips"] == trained.result["clips"]
    assert planned["cache_bytes"] == trained.result["cache_bytes"]
    assert planned["steps"] == trained.result["steps"]
    text = cli("check", *noun_flags(bare, tones))
    assert "hubert" in text.out
    assert "256" in text.out


def test_params_tells_trained_numbers_by_role_without_weights(hubert, cli, tmp_path):
    (tmp_path / "config.json").write_bytes((hubert / "config.json").read_bytes())
    method = 'lora(rank=2, at=["q", "conv"]) + prefix(length=1, projection=3, blocks="1:") + l_adapter(size=4)'
    said = cli("params", tmp_path, method, "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    core = pegbox.load_backbone(str(hubert)).core
    assert found["family"] == "hubert" and found["backbone"] == sum(t.numel() for t in core.parameters())
    by_role = {(part["method"], part["role"]): (part["edits"], part["parameters"]) for part in found["parts"]}
    assert by_role["lora", "q"] == (2, 2 * 2 * (16 + 16))
    assert by_role["lora", "conv"] == (7, 2 * 10 + 4 * 2 * 8 * 3 + 2 * 2 * 8 * 2 + 7 * 8 * 2)
    assert by_role["prefix", "memory"][0] == 1
    assert by_role["l_adapter", "beside the network"][0] == 1
    assert found["total"] == sum(numbers for _, numbers in by_role.values())
    assert found["share"] == found["total"] / found["backbone"]
    text = cli("params", tmp_path, method)
    assert f"{found['total']:,}" in text.out and "beside the network" in text.out


def test_params_counts_shared_tensors_once_and_a_freed_backbone(hubert, cli):
    found = json.loads(cli("params", hubert, "compacter(size=4, n=4)", "--json").out)
    delta = pegbox.attach(pegbox.load_backbone(str(hubert)), "compacter(size=4, n=4)")
    assert found["total"] == sum(tensor.numel() for tensor in delta.parameters())
    (whole,) = json.loads(cli("params", hubert, "full", "--json").out)["parts"]
    assert whole["role"] == "everything" and whole["parameters"] > 1000
    assert json.loads(cli("params", hubert, "linear_probe", "--json").out)["total"] == 0
    refused = cli("params", hubert, "loro")
    assert refused.code != 0 and "did you mean 'lora'" in refused.err


@pytest.mark.parametrize("kind", registry.KINDS)
def test_list(kind, cli):
    found = json.loads(cli("list", kind, "--json").out)
    with_weights = registry.shipped() if kind == "backbones" else ()
    assert [each["name"] for each in found] == [*registry.names(kind), *with_weights]
    assert all(each["summary"] for each in found)
    text = cli("list", kind).out
    assert all(each["name"] in text and each["summary"] in text for each in found)


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], *(["list", kind, "--json"] for kind in registry.KINDS)]
)
def test_help_and_lists_import_nothing_heavy(words):
    code = (
        "import sys\n"
        "from pegbox.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'accelerate', 'numpy', 'sklearn', 'soundfile', 'matplotlib'}\n"
        "print(sorted(heavy & {*sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert done.stdout


# --- bad input ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a bad input is made, beside a good backbone and corpus."""

    root: Path
    hubert: Path
    tones: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def train(self, **others: object) -> list[object]:
        return ["train", *noun_flags(self.hubert, self.tones, **others), *QUICK, "--json", "--out", self.out]

    def manifest(self, text: str) -> list[object]:
        (self.root / "m.csv").write_text(text)
        return self.train(corpus=f'manifest(path="{self.root / "m.csv"}")')

    def spoilt(self, suffix: str, spoil: Callable[[Path], None]) -> list[object]:
        """A corpus with one bad file."""
        corpus = save_tones(self.root / "spoilt", clips=4)
        spoil(corpus / "low" / f"bad.{suffix}")
        return self.train(corpus=f'folder(root="{corpus}")')


@pytest.fixture
def place(tmp_path: Path, hubert: Path, tones: Path) -> Place:
    return Place(tmp_path, hubert, tones)


def cut(path: Path) -> None:
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    path.write_bytes(path.read_bytes()[:-9000])


def silent(path: Path) -> None:
    soundfile.write(path, np.zeros(0), RATE)


def not_finite(path: Path) -> None:
    soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT")


def text(path: Path) -> None:
    path.write_text("no sound\n" * 100)


def short(path: Path) -> None:
    soundfile.write(path, np.zeros(100), RATE)


def label_only_in_test(place: Place) -> list[object]:
    root = place.root / "splits"
    for split in ("train", "valid", "test"):
        save_tones(root / split, clips=2)
    (root / "test" / "low").rename(root / "test" / "lowest")
    return place.train(corpus=f'folder(root="{root}")')


def executed(place: Place, noun: str) -> list[object]:
    attack = f"__import__('pathlib').Path('{place.root / 'executed'}').touch()"
    return place.train(**{noun: f"lora(rank={attack})" if noun == "method" else attack})


def no_config(place: Place) -> list[object]:
    (place.root / "hollow").mkdir()
    return place.train(backbone=place.root / "hollow")


def no_weights(place: Place) -> list[object]:
    hollow = place.root / "hollow"
    hollow.mkdir()
    (hollow / "config.json").write_bytes((place.hubert / "config.json").read_bytes())
    return place.train(backbone=hollow)


def below_a_file(place: Place) -> list[object]:
    (place.root / "file").write_text("regular")
    return [*place.train()[:-1], place.root / "file" / "out"]


BAD: dict[str, tuple[int, str, Callable[[Place], list[object]]]] = {
    "missing manifest": (3, "no such manifest", lambda p: p.train(corpus='manifest(path="missing.csv")')),
    "empty manifest": (3, "the manifest is empty", lambda p: p.manifest("")),
    "missing audio": (3, "no such audio file", lambda p: p.manifest("path,class\na.wav,x\nb.wav,y\nc.wav,y\n")),
    "unreadable audio": (3, "not readable audio", lambda p: p.spoilt("flac", text)),
    "truncated wav": (3, "truncated", lambda p: p.spoilt("wav", cut)),
    "truncated flac": (3, "truncated", lambda p: p.spoilt("flac", cut)),
    "truncated ogg": (3, "truncated", lambda p: p.spoilt("ogg", cut)),
    "zero-length audio": (3, "zero-length", lambda p: p.spoilt("wav", silent)),
    "samples not finite": (3, "not finite", lambda p: p.spoilt("wav", not_finite)),
    "clip too short": (3, "needs at least", lambda p: p.spoilt("wav", short)),
    "label only in test": (3, "that training lacks: ['lowest']", label_only_in_test),
    "unknown label": (3, "did you mean 'class'", lambda p: p.train(task='classify(label="clas")')),
    "missing corpus folder": (3, "no such folder", lambda p: p.train(corpus='folder(root="missing")')),
    "unknown method": (2, "did you mean 'lora'", lambda p: p.train(method="lorra")),
    "unknown task": (2, "did you mean 'classify'", lambda p: p.train(task="clasify")),
    "unknown corpus": (2, "did you mean 'folder'", lambda p: p.train(corpus="folders")),
    "unknown option": (2, "did you mean 'rank'", lambda p: p.train(method="lora(rnk=2)")),
    "unknown site": (2, "qq", lambda p: p.train(method='lora(at=["qq"])')),
    "wrong type": (2, "expected a whole number", lambda p: p.train(method='lora(rank="2")')),
    "wrong setting": (2, "did you mean 'epochs'", lambda p: [*p.train(), "--set", "train.epoch=1"]),
    "wrong type of a setting": (2, "'train.epochs'", lambda p: [*p.train(), "--set", "train.epochs=two"]),
    "code in a method": (2, "not a plain value", lambda p: executed(p, "method")),
    "code in a task": (2, "only names and calls", lambda p: executed(p, "task")),
    "code in a corpus": (2, "only names and calls", lambda p: executed(p, "corpus")),
    "unknown hidden state": (2, "features=9", lambda p: [*p.train(), "--set", "features=9"]),
    "folds without folds": (2, "fold", lambda p: [*p.train(), "--set", "folds=[1,1]"]),
    "missing noun": (2, "the recipe lacks method", lambda p: ["train", "--backbone", p.hubert, "--out", p.out]),
    "missing recipe": (2, "no such recipe file", lambda p: ["train", p.root / "missing.toml", "--out", p.out]),
    "missing --out": (2, "--out DIR", lambda p: p.train()[:-2]),
    "backbone without config": (4, "no config.json", no_config),
    "backbone without weights": (4, "hollow", no_weights),
    "out below a file": (1, "choose another --out", below_a_file),
}


def complains(said: Said, code: int, words: str) -> None:
    """One message, further lines only where it lists faults, and nothing on stdout."""
    assert said.code == code, said.err
    first, *rest = said.err.splitlines()
    assert first.startswith("pegbox: ")
    assert words in said.err
    assert "Traceback" not in said.err
    assert all(line.startswith("  ") for line in rest)
    assert said.out == ""


@pytest.mark.parametrize("name", BAD)
def test_bad_input_has_its_exit_code_and_leaves_nothing_half_written(name, place, cli):
    code, words, made = BAD[name]
    args = made(place)
    complains(cli(*args), code, words)
    assert not (place.root / "executed").exists()
    left = {path.name for path in place.out.rglob("*") if path.is_file() and path.parent.name != "events"}
    assert left <= {"recipe.toml", "log.jsonl"}


@pytest.mark.parametrize("name", ["truncated flac", "backbone without config"])
def test_after_a_repair_the_same_command_trains(name, place, cli):
    _, _, made = BAD[name]
    args = made(place)
    assert cli(*args).code > 0
    for bad in place.root.rglob("bad.flac"):
        bad.unlink()
    if name == "backbone without config":
        save_hubert(place.root / "hollow")
    again = cli(*args)
    assert again.code == 0, again.err
    assert json.loads(again.out)["steps"] > 0


def test_after_a_refused_corpus_a_corrected_recipe_may_use_the_folder(place, cli):
    assert cli(*BAD["missing manifest"][2](place)).code == 3
    said = cli(*place.train())
    assert said.code == 0, said.err


def test_a_corpus_that_cannot_be_decoded_leaves_no_part_of_a_cache(place, cli, tmp_path):
    assert cli(*BAD["truncated flac"][2](place)).code == 3
    assert not [*(tmp_path / "cache").rglob("*.part")]


def test_a_refusal_is_one_line_without_json_too(place, cli):
    args = [word for word in BAD["missing manifest"][2](place) if word != "--json"]
    complains(cli(*args), 3, "no such manifest")


def test_a_corpus_without_the_runs_label_is_not_scored(trained, tones, cli, tmp_path):
    (tmp_path / "m.csv").write_text(f"path,word,split\n{tones}/low/0.flac,low,test\n{tones}/mid/0.flac,mid,valid\n")
    said = cli("eval", trained.folder, "--corpus", f'manifest(path="{tmp_path / "m.csv"}")')
    complains(said, 3, "no label 'class'")


def test_check_refuses_as_training_does(place, cli):
    for name in ("empty manifest", "unreadable audio", "label only in test", "unknown site", "backbone without config"):
        code, words, made = BAD[name]
        args = [word for word in made(place)[1:-2] if word != "--json"]
        complains(cli("check", *args), code, words)


def test_other_files_in_the_folder_stay_as_they_are(place, cli):
    place.out.mkdir()
    (place.out / "thesis.tex").write_text("years of work")
    complains(cli(*place.train()), 2, "holds other files and no run")
    assert [path.name for path in place.out.iterdir()] == ["thesis.tex"]
    assert (place.out / "thesis.tex").read_text() == "years of work"


def test_a_finished_run_is_not_overwritten(trained, hubert, tones, cli):
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    words = ("train", *noun_flags(hubert, tones), *QUICK, "--json", "--out", trained.folder)
    complains(cli(*words), 2, "already finished")
    complains(cli(*words, "--set", "train.epochs=5"), 2, "another recipe")
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["show", "eval", "predict"])
def test_what_is_no_run_is_refused(command, place, cli):
    more = [next(place.tones.glob("low/*.flac"))] if command == "predict" else []
    for folder in (place.root / "missing", place.tones, place.hubert / "config.json"):
        said = cli(command, folder, *more)
        complains(said, 2, str(folder))
    (place.root / "damaged").mkdir()
    (place.root / "damaged" / "result.json").write_text('{"scores": ')
    complains(cli(command, place.root / "damaged", *more), 2, "result.json")


def test_a_backbone_with_other_weights_is_refused(trained, tones, cli, tmp_path):
    other = save_hubert(tmp_path / "other", seed=1)
    path = next(tones.glob("low/*.flac"))
    complains(cli("predict", trained.folder, path, "--backbone", other), 4, "digest")
    complains(cli("eval", trained.folder, "--backbone", other), 4, "digest")


def test_bad_audio_is_not_predicted(trained, tones, cli, tmp_path):
    good = next(tones.glob("low/*.flac"))
    for name, spoil, words in (
        ("a.wav", text, "not readable"),
        ("b.flac", cut, "truncated"),
        ("c.wav", silent, "zero"),
    ):
        spoil(tmp_path / name)
        complains(cli("predict", trained.folder, good, tmp_path / name), 3, words)
    complains(cli("predict", trained.folder, tmp_path / "missing.wav"), 3, "no such audio file")


def test_an_unknown_split_is_refused(trained, cli):
    complains(cli("eval", trained.folder, "--split", "tset"), 2, "no rows in the split 'tset'")


@pytest.mark.parametrize(
    "words", [["train", "--bakbone", "x"], ["trian"], ["predict", ".", "a.wav", "--format", "xml"], ["list", "method"]]
)
def test_words_that_are_no_command_or_option_end_with_usage(words, cli):
    said = cli(*words)
    assert said.code == 2
    assert "Usage" in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_debug_shows_where_a_refusal_came_from(place, cli):
    args = place.train(corpus='manifest(path="missing.csv")')
    with pytest.raises(CorpusError, match="no such manifest"):
        cli("--debug", *args)
    with pytest.raises(CorpusError, match="no such manifest"):
        cli(*args, "--debug")


@pytest.mark.parametrize(
    ("name", "debug"), [("missing manifest", False), ("code in a method", False), ("code in a method", True)]
)
def test_exit_codes_of_the_process(name, debug, place):
    code, words, made = BAD[name]
    said = process(*made(place), *(["--debug"] if debug else []), cache=place.root / "cache")
    if debug:
        assert said.code == 1  # Python's own
        assert "Traceback (most recent call last)" in said.err
        assert words in said.err.splitlines()[-1]
    else:
        complains(said, code, words)
    assert not (place.root / "executed").exists()
