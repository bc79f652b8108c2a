"""What the documents promise: the method written in docs/methods.md works as a plug-in of another package."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_documented_method_works_as_a_plug_in(hubert: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.DOTALL)
    package, info = tmp_path / "my_package", tmp_path / "my_package-0.1.dist-info"
    package.mkdir(), info.mkdir()
    (package / "__init__.py").write_text("")
    (package / "scale.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[pegbox.methods]\nscale = my_package.scale\n")
    script = (
        "import sys, torch, pegbox\n"
        "from pegbox import registry\n"
        "assert str(registry.describe('methods', 'scale').options['at']) == \"tuple[str, ...] = ('ffn',)\"\n"
        f"backbone = pegbox.load_backbone({str(hubert)!r})\n"
        "wave, lengths = torch.randn(1, 4000), torch.tensor([4000])\n"
        "before = backbone(wave, lengths)[-1]\n"
        "delta = pegbox.attach(backbone, 'scale(blocks=\"1:\") + lora(rank=1)')\n"
        "after = backbone(wave, lengths)[-1]\n"
        "assert torch.equal(before, after)\n"
        "after.sum().backward()\n"
        "print(sorted(delta.tensors()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "edits.scale:1/ffn.factors" in done.stdout and "scale:0" not in done.stdout


def test_documents_link_to_files_that_exist() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
