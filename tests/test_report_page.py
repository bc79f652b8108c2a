"""The report's page in a real browser: it sorts, filters and opens runs, in light, dark and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from _recorded import WORDS, fail, record, speak

from pegbox.bench import matrix
from pegbox.bench.report import Options, write
from pegbox.bench.store import Store

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright, which is missing")
BROWSER = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    for place, method in enumerate(("bitfit", "lora(rank=8)", HOSTILE)):
        for seed in (0, 1):
            said = WORDS[: 30 - 6 * place] + [("yes", "no")] * (6 * place + seed)
            record(folder / "runs" / f"ks-{place}-{seed}", said, method=method, seed=seed, cell={}, delta=10**place)
        wer = {"metric": "wer", "task": "ctc", "score": 0.9 - 0.1 * place, "method": method}
        record(folder / "runs" / f"asr-{place}", [("a b", "a")] * 4, **wer, cell={"task": "asr"}, delta=10**place)
    record(folder / "runs" / "other", cell={"suite": "sure"}, method="full")
    speak(folder / "runs" / "voice", HOSTILE, cell={"task": "voice", "suite": "spoken"})
    fail(folder / "runs" / "failed", message=HOSTILE)
    task = {"name": "ks", "task": 'classify(label="word")', "corpus": 'speech_commands(root="{data}")'}
    made = {"name": "later", "backbones": ["tiny"], "methods": ["lora", "bitfit"], "seeds": [0, 1], "tasks": [task]}
    Store(folder / "runs" / "later").keep(matrix.make(made), 4, 1, {("ks", "tiny", "bitfit"): HOSTILE})
    files = write([folder / "runs"], folder / "report", Options("A page", published="all", audio="link"))
    return files[0].resolve().as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """Yields the opened page at the suite that most tests look at."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(address)
    opened.select_option("#filters select", label="toy")
    yield opened
    opened.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_whole_page_is_drawn_without_a_word_on_the_console(
    browser: Any, address: str, scheme: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda problem: said.append(str(problem)))
    page.on("request", lambda asked: said.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(address)
    page.select_option("#filters select", label="toy")
    for place in page.locator("main section").all():
        place.scroll_into_view_if_needed()
        page.wait_for_function("place => place.lastChild.hasChildNodes()", arg=place.element_handle())
    assert page.locator(".js-plotly-plot").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "wider than the window"
    assert HOSTILE in page.locator("#failed").inner_text()
    assert page.title() == "A page" and said == []
    page.close()


@pytest.mark.parametrize("kind", ["one run", "failed alone", "a sweep alone"])
def test_a_page_of_little_is_a_page_too(browser: Any, tmp_path: Path, kind: str) -> None:
    if kind == "failed alone":
        fail(tmp_path / "run")
    else:
        record(tmp_path / "run", cell={"role": "sweep"} if kind == "a sweep alone" else None)
    page, said = browser.new_page(), []
    page.on("pageerror", lambda problem: said.append(str(problem)))
    page.goto(write([tmp_path], tmp_path / "report")[0].as_uri())
    last = page.locator("#failed" if kind == "failed alone" else "#runs")
    last.scroll_into_view_if_needed()
    last.locator("tbody tr").wait_for()
    assert last.locator("tbody tr").count() == 1 and said == []
    page.close()


def methods(page: Any) -> list[str]:
    return list(page.locator("#board tbody td:nth-child(2) code").all_inner_texts())


def test_heads_sort_both_ways(page: Any) -> None:
    page.click('#board th[data-key="trained"]')
    assert methods(page) == ["bitfit", "lora(rank=8)", HOSTILE]
    page.click('#board th[data-key="trained"]')
    assert methods(page) == [HOSTILE, "lora(rank=8)", "bitfit"]
    page.click('#board th[data-key="task asr"]')
    assert methods(page)[0] == HOSTILE, "of an error rate the lowest comes first"
    assert page.get_attribute('#board th[data-key="task asr"]', "aria-sort") == "ascending"


def test_words_and_tasks_filter_what_is_shown(page: Any) -> None:
    page.fill("#filters input", "RANK=8")
    page.wait_for_function("document.querySelectorAll('#board tbody tr').length === 1")
    assert methods(page) == ["lora(rank=8)"]
    page.fill("#filters input", "nothing like it")
    page.wait_for_selector("#board >> text=Nothing matches.")
    page.fill("#filters input", "")
    page.wait_for_function("document.querySelectorAll('#board tbody tr').length === 3")
    page.click("#filters >> text=asr")
    assert page.locator("#board th").filter(has_text="asr").count() == 0
    page.click("#filters >> text=ks")
    assert page.locator("#board .cell").count() == 0


def test_a_score_opens_its_runs_with_recipe_command_and_charts(page: Any) -> None:
    page.click("#board tbody tr:has-text('bitfit') .cell:has-text('±') button")
    dialog = page.locator("#dialog")
    assert 'method = "bitfit"' in dialog.inner_text() and "--set 'seeds=[0]'" in dialog.inner_text()
    assert dialog.locator(".js-plotly-plot").count() == 3
    dialog.locator("select").select_option(index=1)
    assert "--set 'seeds=[1]'" in dialog.inner_text() and "#run=" in page.url
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('dialog').open") and "#run=" not in page.url


def test_charts_are_drawn_and_a_link_opens_its_run(page: Any) -> None:
    page.locator("#tradeoffs").scroll_into_view_if_needed()
    page.wait_for_selector("#tradeoff .scatterlayer .point")
    assert page.locator("#tradeoff .scatterlayer .point").count() == 3
    page.locator("#runs").scroll_into_view_if_needed()
    page.click("#runs a >> nth=0")
    assert page.evaluate("document.getElementById('dialog').open")
    page.click("#dialog >> text=Close")


def test_published_numbers_have_their_place(page: Any) -> None:
    page.select_option("#filters select", label="sure")
    page.locator("#published").scroll_into_view_if_needed()
    page.wait_for_selector("#published details[open]")
    assert "only the CTC head learnt" in page.locator("#published").inner_text()
    assert page.locator("#board tbody tr").count() == 1


def test_what_is_not_done_yet_is_listed_and_counted(page: Any) -> None:
    listed = page.locator("#planned")
    listed.scroll_into_view_if_needed()
    listed.locator("tbody tr").first.wait_for()
    assert [row.split("\t")[0] for row in listed.locator("tbody tr").all_inner_texts()] == ["waiting"] * 2 + ["skipped"]
    assert HOSTILE in listed.inner_text() and "2 waiting" in page.locator("#top").inner_text()


def test_samples_of_synthesis_are_played_beside_their_recordings(page: Any) -> None:
    page.select_option("#filters select", label="spoken")
    listed = page.locator("#spoken")
    listed.scroll_into_view_if_needed()
    listed.locator("tbody tr").first.wait_for()
    assert listed.locator("tbody tr").count() == 2 and listed.locator("audio").count() == 4
    assert HOSTILE in listed.inner_text() and "talk/1" in listed.inner_text()
    sources = [each.get_attribute("src") for each in listed.locator("tbody tr").first.locator("audio").all()]
    assert [source.rpartition("/")[2] for source in sources] == ["clip%200-said.wav", "clip%200-reference.wav"]
    played = "async (audio) => { await audio.play(); return audio.duration; }"
    assert listed.locator("audio").first.evaluate(played) == pytest.approx(0.25)
    page.click("#board .cell button >> nth=0")
    assert page.locator("#dialog audio").count() == 4 and "null" not in page.locator("#dialog").inner_text()


def test_light_and_dark_can_be_changed(page: Any) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != before
