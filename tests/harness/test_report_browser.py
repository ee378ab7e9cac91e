"""The report in a real browser: it fits narrow and wide screens, it can be searched, and nothing from outside runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser, find_browser
from hostile_run import MODELS, write_hostile_run

from harness.report.html import write_report
from harness.store.run_folder import RunFolder
from harness.store.store import Cell

pytestmark = pytest.mark.slow
FITS = "document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = write_hostile_run(tmp_path_factory.mktemp("results"))
    write_report(folder.path)
    return folder


def pages(run: RunFolder) -> list[Path]:
    return [run.path / "results.html", run.cell_dir(Cell("owner__repo-0", MODELS[1])) / "cell.html"]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen_and_nothing_in_it_runs(
    browser: Browser, run: RunFolder, width: int, scheme: str
) -> None:
    for page in pages(run):
        browser.open(page, width=width, scheme=scheme)
        assert browser.run(FITS), page
        assert browser.run("document.title") != "PWNED"
        assert browser.requested() == [page.resolve().as_uri()]
        assert browser.run("document.images.length") == 0
        assert not [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]


@pytest.mark.parametrize("width", [390, 1280])
def test_figures_are_whole_and_large_enough_to_read(browser: Browser, run: RunFolder, width: int) -> None:
    browser.open(run.path / "results.html", width=width)
    texts = browser.run(
        "[...document.querySelectorAll('svg.drawing text')].map((text) => {"
        "const [own, all] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()];"
        "const matrix = text.getScreenCTM();"
        "const height = parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);"
        "return [text.textContent, height, own.left >= all.left - 1 && own.right <= all.right + 1]; })"
    )
    assert {text for text, _, _ in texts} >= {"meek", "1", "2", "share resolved, 95 % interval"}
    assert [text for text, height, inside in texts if height < 8 or not inside] == []


def test_the_policy_stops_what_slips_through_the_escaping(browser: Browser, run: RunFolder, tmp_path: Path) -> None:
    inserted = "<script>document.title='PWNED'</script><img src='x' onerror=\"document.title='PWNED'\">"
    remote = "<img src='http://127.0.0.1:9/x.png'><link rel='stylesheet' href='http://127.0.0.1:9/x.css'>"
    for number, page in enumerate(pages(run)):
        broken = tmp_path / f"{number}.html"
        broken.write_text(
            page.read_text(encoding="utf-8").replace("<main>", f"<main>{inserted}{remote}"), encoding="utf-8"
        )
        browser.open(broken)
        assert browser.run("document.title") != "PWNED"
        assert browser.run("document.images.length") == 2
        refused = [event for event in browser.events if event.get("method") == "Network.loadingFailed"]
        sent = [url for url in browser.requested() if url.startswith("http")]
        assert len(refused) >= len(sent)
        assert all(event["params"].get("blockedReason") == "csp" for event in refused)


def test_cells_are_searched_filtered_and_sorted_by_the_keyboard(browser: Browser, run: RunFolder) -> None:
    browser.open(run.path / "results.html")
    table = "document.querySelector('#cells-table').tBodies[0].rows"
    assert browser.run(f"{table}.length") == 24
    browser.run(
        "(() => { const box = document.querySelector('#filters').elements.text; box.value = 'repo-7 evil';"
        "box.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert browser.run(f"[...{table}].map((row) => row.cells[0].textContent)") == ["owner__repo-7"]
    assert browser.run("document.querySelector('#found').textContent").startswith("1 of 24 cells")
    link = browser.run(f"{table}[0].querySelector('a').href").split("#")[0]
    assert link == (run.cell_dir(Cell("owner__repo-7", MODELS[1])) / "cell.html").resolve().as_uri()
    browser.run("document.querySelector('[data-cluster=\"1\"]').click()")
    assert browser.run("document.querySelector('#found').textContent").startswith("16 of 24 cells")
    # a heading is a button: it takes the focus and Enter
    browser.run("document.querySelectorAll('#results thead button')[1].focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    resolved = browser.run("[...document.querySelectorAll('#results tbody tr')].map((row) => +row.cells[1].dataset.v)")
    assert resolved == sorted(resolved, reverse=True)
    assert browser.run("document.querySelectorAll('#results thead th')[1].ariaSort") == "descending"


def test_the_reader_may_choose_the_theme_and_print(browser: Browser, run: RunFolder, tmp_path: Path) -> None:
    browser.open(run.path / "results.html", scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    figure = "getComputedStyle(document.querySelector('svg.rates text')).fill"
    light, text = browser.run(colour), browser.run(figure)
    browser.run("document.querySelector('#theme').click()")
    assert browser.run(colour) != light
    assert browser.run(figure) != text
    browser.run("localStorage.clear()")
    browser.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
