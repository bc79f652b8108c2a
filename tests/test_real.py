"""The main job on real speech and a real encoder, cut short; skipped where they are not beside the project."""

import json
from pathlib import Path

import pytest
from _made import SHARED

import pegbox

ENCODER = SHARED / "models" / "whisper-tiny-en-encoder"
pytestmark = pytest.mark.skipif(
    not ENCODER.exists(), reason="no shared/ with real audio and weights beside the project"
)


def test_digits_of_unseen_speakers(tmp_path: Path) -> None:
    settings = {
        "backbone": str(ENCODER),
        "method": "lora(rank=8)",
        "task": 'classify(label="word")',
        "corpus": f'fsdd(root="{SHARED}/data/real/fsdd", test_speakers=["lucas", "yweweler"])',
        "train": {"steps": 58, "validate_steps": 29},
    }
    result = pegbox.train(settings, tmp_path / "run")
    assert result["clips"] == {"train": 1800, "valid": 200, "test": 1000}
    assert result["parameters"]["delta"] == 49_152 and result["parameters"]["backbone"] == 8_208_384
    assert result["scores"]["test"]["accuracy"] > 0.9
    assert result["artefact_bytes"] < 1_000_000
    clip = SHARED / "data" / "real" / "fsdd" / "7_lucas_3.flac"
    (said,) = pegbox.load(tmp_path / "run").predict([clip])
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    before = next(line for line in lines if line["id"] == "7_lucas_3")
    assert said["said"] == before["said"]
    assert said["probabilities"] == pytest.approx(before["probabilities"], abs=1e-3)
