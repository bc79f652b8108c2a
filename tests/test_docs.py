"""What the documents promise: the method of docs/methods.md and the network of docs/backbones.md work as plug-ins."""

import re
import subprocess
import sys
from pathlib import Path

from pegbox import registry, tasks

ROOT = Path(__file__).parents[1]


def plugged_in(page: str, kind: str, name: str, script: str, folder: Path, *arguments: str) -> str:
    """Installs a page's one plug-in as another package would, runs a script beside it, and returns what it prints."""
    pages = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (each for each in pages if each.startswith('"""'))
    package, info = folder / "my_package", folder / "my_package-0.1.dist-info"
    package.mkdir(), info.mkdir()
    (package / "__init__.py").write_text("")
    (package / f"{name}.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[pegbox.{kind}]\n{name} = my_package.{name}\n")
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_documented_method_works_as_a_plug_in(hubert: Path, tmp_path: Path) -> None:
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
    printed = plugged_in("methods.md", "methods", "scale", script, tmp_path)
    assert "edits.scale:1/ffn.factors" in printed and "scale:0" not in printed


TOY = """
import sys, torch, pegbox
from pegbox import surgery
from pegbox.backbones import outline
from pegbox.errors import CorpusError, RecipeError, WeightsError
from my_package.toy import ToyEncoder

def close(left, right):
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)

def refused(kind, words, call):
    try:
        call()
    except kind as problem:
        assert words in str(problem), problem
    else:
        raise AssertionError(words)

source = sys.argv[1]
torch.manual_seed(0)
torch.save(ToyEncoder().state_dict(), source)
model = pegbox.load_backbone(source)
wave, lengths = torch.randn(2, 6100), torch.tensor([6000, 4000])

def alone(row):
    return model(wave[row : row + 1, : lengths[row]], lengths[row : row + 1])

x, core = model.core.conv(wave[:1, None, :6000]).transpose(1, 2), model.core
for block in core.blocks:
    x = block(x)
close(alone(0)[-1], core.norm(x))
refused(CorpusError, "needs at least 400", lambda: model(wave[:1, :399], torch.tensor([399])))
refused(WeightsError, "no config.json", lambda: pegbox.load_backbone("./elsewhere"))
assert pegbox.load_backbone(source).digest == model.digest != ""
assert outline(source).sites().roles == model.sites().roles and outline(source).core.conv.weight.is_meta

for spec in sys.argv[2:]:
    before = model(wave, lengths)
    delta = pegbox.attach(model, spec).eval()
    sum(x.square().mean() for x in model(wave, lengths)).backward()
    assert all(tensor.grad is not None for tensor in delta.parameters()), spec
    with torch.no_grad():
        for tensor in delta.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
        together = model(wave, lengths)
        for row in (0, 1):
            for padded, single in zip(together, alone(row), strict=True):
                close(padded[row, : single.shape[1]], single[0])
    assert not torch.allclose(together[-1], before[-1]), spec
    surgery.save(delta, source + ".delta")
    delta.detach()
    with torch.enable_grad():
        assert all(torch.equal(old, new) for old, new in zip(before, model(wave, lengths), strict=True)), spec
    surgery.load(pegbox.attach(model, spec), source + ".delta").detach()

refused(RecipeError, "toy has no site 'q'", lambda: pegbox.attach(model, "lora"))
bare = torch.nn.Sequential(ToyEncoder(), torch.nn.Linear(32, 2))
delta = pegbox.attach(bare, 'lora(rank=1, at=["up"])')
assert bare[1].weight.requires_grad and not bare[0].conv.weight.requires_grad
print("held")
"""


def test_the_documented_network_works_as_a_plug_in(tmp_path: Path) -> None:
    specs = (
        'lora(rank=2, at=["up", "down"]) + bitfit(at=["up"])',
        'bottleneck(size=4, at=["attn", "ffn", "leave"])',
        "deep_prompt(length=3)",
        "conv_adapter(squeeze=4)",
        'bottleneck(size=4, at=["frames", "norm1"])',
        "full",
    )
    printed = plugged_in("backbones.md", "backbones", "toy", TOY, tmp_path, str(tmp_path / "weights.toy"), *specs)
    assert printed == "held\n"


def test_the_documented_network_is_short() -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if each.startswith('"""'))
    assert len([line for line in code.splitlines() if line.strip()]) <= 60


def test_documents_link_to_files_that_exist() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_task_is_documented() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", page, re.MULTILINE)
    named = {name: re.findall(r"`(\w+)`", metrics) for name, metrics in rows}
    for name in registry.names("tasks"):
        metric = tasks.build(f'{name}(label="x")').metric
        assert metric in named[name], f"docs/tasks.md gives another score of {name} than {metric}"
