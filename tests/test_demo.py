"""The demo: its recipes are sound, it shows what it promises, and what is finished is not run again."""

from pathlib import Path

import pytest
import soundfile

from pegbox import demo
from pegbox.corpora.synthetic import _espeak
from pegbox.recipe import make
from pegbox.training.plans import plan

pytestmark = pytest.mark.skipif(not _espeak.available(), reason="eSpeak NG is not installed (the extra 'demo')")


@pytest.fixture(autouse=True)
def _shared_clips(made_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "synthetic").symlink_to(made_clips)


def test_it_shows_a_table_a_picture_and_a_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    demo.show(tmp_path / "out", demo.METHODS[:2])
    first = capsys.readouterr().out
    assert all(word in first for word in ("speakers", "sounds", "linear_probe", "weighted_sum", "says '"))
    assert (tmp_path / "out" / "demo.png").stat().st_size > 10_000
    written = (tmp_path / "out" / "speakers-linear_probe" / "result.json").stat().st_mtime_ns
    demo.show(tmp_path / "out", demo.METHODS[:2])
    assert capsys.readouterr().out == first
    assert (tmp_path / "out" / "speakers-linear_probe" / "result.json").stat().st_mtime_ns == written


def test_every_job_is_a_sound_recipe() -> None:
    for job in demo.jobs():
        planned = plan(make(job.settings))
        assert planned.family == "hubert" and planned.parameters["backbone"] == 3_544_352


def test_clips_can_be_heard(tmp_path: Path) -> None:
    found = list(demo.listen(tmp_path / "clips"))
    assert len(found) == 3 * len(demo.HEARD) and all(about for _, about in found)
    for path, _ in found:
        assert soundfile.info(path).samplerate == 16_000 and soundfile.info(path).format == "WAV"
