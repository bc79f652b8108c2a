"""The report on many runs: what is read, the leaderboard, tables in three forms, and what a page may not do."""

import csv
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from _made import save_hubert, save_tones
from _recorded import WORDS, fail, record, speak

import pegbox
from pegbox.bench.report import Options, formats, page, sound, write
from pegbox.bench.report.board import Board, boards
from pegbox.bench.report.read import collect
from pegbox.bench.report.seen import look
from pegbox.errors import RecipeError

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'too' | ` _ $ \u2028"


def board(folder: Path) -> Board:
    found = collect([folder])
    (made,) = boards(found.runs, {run.name: look(run).evidence for run in found.runs}, 100)
    return made


def shown(out: Path) -> dict[str, Any]:
    """Returns the data that a page holds."""
    text = (out / "index.html").read_text(encoding="utf-8")
    (held,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return dict(json.loads(held))


def test_a_report_on_one_run(tmp_path: Path) -> None:
    record(tmp_path / "run")
    made = write([tmp_path / "run"], tmp_path / "report")
    assert [path.name for path in made] == [
        "index.html",
        "report.md",
        "report.tex",
        "leaderboard.csv",
        "runs.csv",
        "failed.csv",
    ]
    data = shown(tmp_path / "report")
    (row,) = data["boards"][0]["rows"]
    (cell,) = row["cells"].values()
    assert list(row["cells"]) == ["classify(word) · folder"]
    assert cell["mean"] == pytest.approx(4 / 6) and cell["deviation"] is None and cell["low"] < 4 / 6 < cell["high"]
    (run,) = data["runs"]
    assert run["name"] == "run" and 'method = "lora(rank=8)"' in run["recipe"]
    assert run["again"].startswith("pegbox train ") and "--set 'seeds=[0]'" in run["again"]
    assert [point[0] for point in run["curve"]] == [10, 20] and sum(run["layers"]) == pytest.approx(1, abs=1e-3)
    assert sum(count for _, _, count in run["confusion"]) == 30 and run["classes"] == ["no", "up", "yes"]
    assert len(run["worst"]) == 6 and all(clip[1] != clip[2] for clip in run["worst"])


def test_the_leaderboard_means_seeds_and_ranks_tasks_by_their_direction(tmp_path: Path) -> None:
    for seed, score in enumerate((0.5, 0.7)):
        record(tmp_path / f"a{seed}", method="a", seed=seed, score=score, cell={})
    record(tmp_path / "b", method="b", score=0.65, cell={})
    for method, wer in (("a", 0.4), ("b", 0.2)):
        record(tmp_path / f"{method}-asr", method=method, metric="wer", task="ctc", score=wer, cell={"task": "asr"})
    made = board(tmp_path)
    assert [(column.task, column.better) for column in made.columns] == [("asr", "min"), ("ks", "max")]
    first, second = made.rows
    assert (first.method, first.rank, first.ranked) == ("b", 1.0, 2) and (second.method, second.rank) == ("a", 2.0)
    assert second.entries["ks"].mean == pytest.approx(0.6)
    assert second.entries["ks"].deviation == pytest.approx(math.sqrt(0.02))
    assert first.entries["ks"].deviation is None


def test_a_sweep_is_listed_and_not_ranked(tmp_path: Path) -> None:
    record(tmp_path / "final", cell={})
    record(tmp_path / "swept", score=0.99, cell={"role": "sweep", "rate": 3.0})
    found = collect([tmp_path])
    (made,) = boards(found.runs, {}, 0)
    assert [run.role for run in made.rows[0].runs] == ["final"]
    write([tmp_path], tmp_path / "report")
    with (tmp_path / "report" / "runs.csv").open() as file:
        assert sorted(row["role"] for row in csv.DictReader(file)) == ["final", "sweep"]


def test_the_same_method_with_other_settings_is_another_row(tmp_path: Path) -> None:
    for epochs in (3, 9):
        record(tmp_path / str(epochs), epochs=epochs)
    assert sorted(row.extra for row in board(tmp_path).rows) == ["train.epochs=3", "train.epochs=9"]


def test_scores_that_are_no_numbers_rank_last_and_have_no_interval(tmp_path: Path) -> None:
    record(tmp_path / "good", method="good", cell={})
    record(tmp_path / "bad", method="bad", score=math.nan, cell={})
    good, bad = board(tmp_path).rows
    assert (good.method, bad.method, bad.rank) == ("good", "bad", 2.0)
    assert bad.entries["ks"].interval is None and math.isnan(bad.entries["ks"].mean)
    write([tmp_path], tmp_path / "report")
    assert shown(tmp_path / "report")["boards"][0]["rows"][1]["cells"]["ks"]["mean"] is None
    assert "| nan |" in (tmp_path / "report" / "report.md").read_text()


def test_missing_and_broken_files_cost_their_part_and_a_note(tmp_path: Path) -> None:
    for name in ("whole", "no-predictions", "no-log", "no-recipe", "no-json"):
        record(tmp_path / name, cell={})
    (tmp_path / "no-predictions" / "predictions.jsonl").unlink()
    (tmp_path / "no-log" / "log.jsonl").unlink()
    (tmp_path / "no-log" / "delta.safetensors").write_bytes(b"broken")
    (tmp_path / "no-recipe" / "recipe.toml").unlink()
    (tmp_path / "no-json" / "result.json").write_text("{")
    fail(tmp_path / "failed", message="the loss is nan at step 3")
    write([tmp_path], tmp_path / "report")
    data = shown(tmp_path / "report")
    assert sorted(run["name"] for run in data["runs"]) == ["no-log", "no-predictions", "whole"]
    assert {each["name"]: each["kind"] for each in data["failed"]} == {
        "no-recipe": "incomplete",
        "no-json": "unreadable",
        "failed": "NonFiniteError",
    }
    assert any("no-predictions: predictions are missing" in note for note in data["notes"])
    assert any("seed 0 stands 3 times" in note for note in data["notes"])
    assert data["boards"][0]["rows"][0]["cells"]["ks"]["low"] is None, "one run of the cell has no predictions"
    assert "the loss is nan at step 3" in (tmp_path / "report" / "report.md").read_text()


def test_only_failed_runs_are_a_report_too(tmp_path: Path) -> None:
    fail(tmp_path / "one")
    write([tmp_path], tmp_path / "report")
    assert shown(tmp_path / "report")["boards"] == []


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no result\.json"):
        write([tmp_path], tmp_path / "report")
    with pytest.raises(RecipeError, match="no such folder"):
        write([tmp_path / "elsewhere"], tmp_path / "report")


def test_without_plotly_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(RecipeError, match=r"pip install 'pegbox\[report\]'"):
        write([tmp_path], tmp_path / "report")
    assert not (tmp_path / "report").exists()


class Elements(HTMLParser):
    """Counts the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    record(tmp_path / "run", [(HOSTILE, HOSTILE), ("a", HOSTILE)], cell={"task": HOSTILE, "method": HOSTILE})
    fail(tmp_path / "bad", HOSTILE, HOSTILE)
    write([tmp_path], tmp_path / "report", Options(title=HOSTILE))
    elements = Elements()
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    elements.feed(text)
    assert elements.names.count("script") == 3 and "img" not in elements.names
    assert list(shown(tmp_path / "report")["boards"][0]["rows"][0]["cells"]) == [HOSTILE]
    with (tmp_path / "report" / "leaderboard.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["task"] == HOSTILE


def test_the_page_asks_for_nothing_outside(tmp_path: Path) -> None:
    assert not re.findall(r'(?:src|href)="(?!data:|#)', "".join(_own_assets()))
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttp", "".join(_own_assets()))


def _own_assets() -> list[str]:
    folder = Path(page.__file__).parent / "assets"
    return [path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())]


def test_markdown_and_latex_escape_what_is_markup() -> None:
    table = formats.Table("a_b", ("m|n", "50 %"), [["x_1 & y", "{1} #2 ~ ^ \\"], ["<b>", "± 3"]])
    told = formats.markdown(table).splitlines()
    assert told[0] == r"### a\_b" and told[2] == r"| m\|n | 50 % |" and told[3] == "| --- | ---: |"
    assert told[5] == r"| \<b\> | ± 3 |"
    latex = formats.latex(table)
    assert r"x\_1 \& y & \{1\} \#2 \textasciitilde{} \textasciicircum{} \textbackslash{} \\" in latex
    assert r"\textless{}b\textgreater{} & $\pm$ 3 \\" in latex and r"m\textbar{}n & 50 \% \\" in latex
    assert r"\begin{tabular}{lr}" in latex and "\\\\\n\\bottomrule" in latex


def test_published_numbers_stand_apart_and_only_of_the_same_suite(tmp_path: Path) -> None:
    record(tmp_path / "run", cell={"suite": "sure"})
    write([tmp_path], tmp_path / "one")
    data = shown(tmp_path / "one")
    assert {number["suite"] for number in data["published"]} == {"sure"}
    assert [row["method"] for row in data["boards"][0]["rows"]] == ["lora(rank=8)"]
    write([tmp_path], tmp_path / "two", Options(published="none"))
    assert shown(tmp_path / "two")["published"] == [] and not (tmp_path / "two" / "published.csv").exists()
    write([tmp_path], tmp_path / "three", Options(published="all"))
    assert len({number["suite"] for number in shown(tmp_path / "three")["published"]}) > 5
    assert "only the CTC head learnt" in (tmp_path / "three" / "report.md").read_text()


def sounding(folder: Path) -> Path:
    """Writes a run whose corpus is at hand, with two clips that were got wrong."""
    clips = folder / "clips"
    for name in ("low", "high"):
        (clips / name).mkdir(parents=True)
        soundfile.write(clips / name / "a b#1.wav", np.zeros(1600, np.float32), 16_000)
    run = record(folder / "runs" / "run", [("low", "high"), ("high", "low")])
    recipe = (run / "recipe.toml").read_text().replace('folder(root=\\"clips\\")', f'folder(root=\\"{clips}\\")')
    (run / "recipe.toml").write_text(recipe)
    ids = [row.id for row in pegbox_rows(clips)]
    rows = [{"id": name, "true": "low", "said": "high"} for name in ids]
    (run / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "runs"


def pegbox_rows(clips: Path) -> list[Any]:
    from pegbox import corpora

    return list(corpora.build(f'folder(root="{clips}")').rows())


def test_sounds_are_embedded_linked_or_noted(tmp_path: Path) -> None:
    runs = sounding(tmp_path)
    write([runs], tmp_path / "embed", Options(audio="embed"))
    (heard,) = shown(tmp_path / "embed")["sounds"].values()
    assert len(heard) == 2 and all(address.startswith("data:audio/mpeg;base64,") for address in heard.values())
    write([runs], tmp_path / "link", Options(audio="link"))
    (heard,) = shown(tmp_path / "link")["sounds"].values()
    assert sorted(heard.values()) == ["../clips/high/a%20b%231.wav", "../clips/low/a%20b%231.wav"]
    write([runs], tmp_path / "none")
    assert shown(tmp_path / "none")["sounds"] == {}
    (tmp_path / "clips").rename(tmp_path / "moved")
    write([runs], tmp_path / "gone", Options(audio="embed"))
    assert shown(tmp_path / "gone")["sounds"] == {}
    assert any("no sounds of folder" in note for note in shown(tmp_path / "gone")["notes"])


def test_what_a_synthesis_run_says_stands_beside_its_recording(tmp_path: Path) -> None:
    for method in ("lora", "bitfit"):
        speak(tmp_path / "runs" / method, method)
    write([tmp_path / "runs"], tmp_path / "embed", Options(audio="embed"))
    data = shown(tmp_path / "embed")
    assert [run["samples"] for run in data["runs"]] == [[["clip 0", "a b", ""], ["talk/1", "a b", "a"]]] * 2
    assert sorted(data["said"]) == ["bitfit", "lora"]
    assert all(set(heard) == {"clip 0", "talk/1"} for heard in data["said"].values())
    (recordings,) = data["sounds"].values()
    assert recordings.keys() == {"clip 0", "talk/1"}, "a recording that two runs have said stands once"
    every = [*data["said"]["lora"].values(), *recordings.values()]
    assert all(address.startswith("data:audio/mpeg;base64,") for address in every) and data["notes"] == []
    write([tmp_path / "runs"], tmp_path / "link", Options(audio="link"))
    assert shown(tmp_path / "link")["said"]["lora"]["talk/1"] == "../runs/lora/samples/talk-1-said.wav"
    write([tmp_path / "runs"], tmp_path / "none")
    assert shown(tmp_path / "none")["said"] == shown(tmp_path / "none")["sounds"] == {}


def test_samples_stop_where_the_page_is_full_and_a_broken_one_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(tmp_path / "runs" / "whole")
    write([tmp_path / "runs"], tmp_path / "first", Options(audio="embed"))
    lengths = [len(address) for address in shown(tmp_path / "first")["said"]["whole"].values()]
    monkeypatch.setattr(sound, "LIMIT", lengths[0] + 10)
    write([tmp_path / "runs"], tmp_path / "second", Options(audio="embed"))
    held = shown(tmp_path / "second")
    assert list(held["said"]["whole"]) == ["clip 0"] and held["sounds"] == {}
    monkeypatch.undo()
    (tmp_path / "runs" / "whole" / "samples" / "clip 0-said.wav").write_bytes(b"broken")
    write([tmp_path / "runs"], tmp_path / "third", Options(audio="embed"))
    assert any("no sounds of whole: " in note for note in shown(tmp_path / "third")["notes"])


def test_names_tell_several_folders_apart(tmp_path: Path) -> None:
    for place in ("one", "two"):
        record(tmp_path / place / "run")
    found = collect([tmp_path / "one", tmp_path / "two"])
    assert sorted(run.name for run in found.runs) == ["one/run", "two/run"]
    assert len(collect([tmp_path, tmp_path / "one"]).runs) == 2, "a folder given twice counts once"


def test_a_report_on_runs_that_were_trained(tmp_path: Path) -> None:
    hubert, tones = save_hubert(tmp_path / "hubert"), save_tones(tmp_path / "tones", 8)
    recipe = {
        "backbone": str(hubert),
        "task": 'classify(label="class")',
        "corpus": f'folder(root="{tones}", valid=0.2, test=0.2)',
        "train": {"epochs": 2},
    }
    pegbox.train(recipe | {"method": "weighted_sum", "seeds": [0, 1]}, tmp_path / "runs" / "sum")
    pegbox.train(recipe | {"method": "child(keep=0.01)"}, tmp_path / "runs" / "child")
    write([tmp_path / "runs"], tmp_path / "report", Options(audio="embed"))
    data = shown(tmp_path / "report")
    rows = {row["method"]: row for row in data["boards"][0]["rows"]}
    assert rows.keys() == {"weighted_sum", "child(keep=0.01)"}
    (cell,) = rows["weighted_sum"]["cells"].values()
    assert len(cell["runs"]) == 2 and cell["low"] <= cell["mean"] <= cell["high"]
    named = {run["name"]: run for run in data["runs"]}
    assert named.keys() == {"sum/seed-0", "sum/seed-1", "child"}
    assert all(len(run["layers"]) == 3 and run["curve"] for run in named.values())
    (report,) = named["child"]["importance"].values()
    assert report["mass"]["1"] == pytest.approx(1) and report["block"].keys() >= {"0", "1"}
    assert data["notes"] == []


def test_worst_clips_come_first(tmp_path: Path) -> None:
    run = record(tmp_path / "run", WORDS)
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    for place, row in enumerate(rows):
        row["probabilities"] = {row["true"]: 0.5 if row["said"] == row["true"] else 0.01 * place}
    (run / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    worst = look(collect([tmp_path]).runs[0]).worst
    assert [clip.id for clip in worst][:3] == ["clip 1", "clip 5", "clip 7"]
    assert [clip.wrong for clip in worst] == sorted((clip.wrong for clip in worst), reverse=True)
