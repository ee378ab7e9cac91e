"""The report in a real browser: it fits narrow and wide screens, it can be searched, and nothing from outside runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser, find_browser
from hostile_run import INSTANCES, MODELS, hostile_results, write_hostile_run

from harness.evaluation.schema import Statement
from harness.importers.source import read_source
from harness.importers.table import read as read_csv
from harness.report.html import write_report
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder

pytestmark = pytest.mark.slow
FITS = "document.documentElement.scrollWidth <= innerWidth"
READABLE = 4.5
"""Least contrast of text, WCAG 2 level AA."""
LONG_HEADLINE = (
    "Use Gemini 3 Pro Preview (2025-11-18): 371 of 500 resolved, 1 fewer than the best model [−16, +14], at 64% of its "
    "cost ($0.460 per instance)."
)
LONG_ANSWER = {
    "Why": "It is the cheapest model whose estimated rate is within 3 points of the best (the rule of policy auto).",
    "Routing": "Not shown to pay: the best policy, cascade:prior=shared-difficulty, resolves 377.4 of 500 held out, "
    "5.4 more than the best model [−4.2, +15.3], at $0.755 per instance. Test that the text helps: p 0.59. A gain "
    "under 12 instances would probably be missed.",
    "How sure": "With 500 instances, a true difference between Gemini 3 Pro Preview (2025-11-18) and Claude 4.5 Opus "
    "medium (20251101) of less than 4.3 points (22 instances) would probably be missed. Choosing by this rule on "
    "training folds resolves 371 of 500 held out, 1 fewer than the best model [−16, +14].",
}
"""A recommendation about real models, as long as they come."""
CONTRASTS = """
(() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d");
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, k) => value * a + below[k] * (1 - a)).concat(1);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let part = element; part; part = part.parentElement) layers.push(rgba(getComputedStyle(part).backgroundColor));
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const drawn = (element, text) => {
    element.scrollIntoView({block: "center", inline: "center"});
    const box = text.getBoundingClientRect();
    const stack = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    const shapes = stack.filter((part) => part.ownerSVGElement && !part.closest("text"));
    return shapes.reduceRight((below, shape) => {
      const style = getComputedStyle(shape);
      if (style.fill === "none") return below;
      const [r, g, b, a] = rgba(style.fill);
      return over([r, g, b, a * style.fillOpacity * style.opacity], below);
    }, ground(element.ownerSVGElement));
  };
  const results = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest("title, :disabled")) continue;
    const range = new Range();
    range.selectNode(node);
    if (!range.getBoundingClientRect().width) continue;
    const svg = Boolean(element.ownerSVGElement);
    const below = svg ? drawn(element, range) : ground(element);
    const style = getComputedStyle(element);
    const ink = over(rgba(svg ? style.fill : style.color), below);
    const [dark, light] = [luminance(ink), luminance(below)].sort((a, b) => a - b);
    const contrast = (light + 0.05) / (dark + 0.05);
    results.push([node.textContent.trim().slice(0, 40), element.className.baseVal ?? element.className, contrast]);
  }
  return results;
})()
"""
"""Every visible text of a page, its element's class, and its contrast."""


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
        complaints = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        assert not [event for event in browser.events if event.get("method") in complaints]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_background(browser: Browser, run: RunFolder, scheme: str) -> None:
    for page in pages(run):
        browser.open(page, scheme=scheme)
        browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        if page.name == "results.html":
            shades = [f"<td class='h{k}'>{k}</td>" for k in range(21)]
            shaded = f"<table><tbody><tr>{''.join(shades)}</tr></tbody></table>"
            browser.run(f"document.querySelector('main').insertAdjacentHTML('beforeend', {json.dumps(shaded)})")
        contrasts = browser.run(CONTRASTS)
        assert len(contrasts) > 50
        assert [entry for entry in contrasts if entry[2] < READABLE] == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_names_of_rows_stay_in_sight(browser: Browser, run: RunFolder, width: int) -> None:
    browser.open(run.path / "results.html", width=width)
    browser.run("document.querySelectorAll('td').forEach((cell) => { cell.style.minWidth = '40rem'; })")
    for table in ("#results", "#clusters", "#groups", "#flags", "#outcomes"):
        region = f"document.querySelector('{table} .scroll')"
        browser.run(f"{region}.scrollLeft = 500")
        assert browser.run(f"{region}.scrollLeft") == 500
        left = (
            f"{region}.querySelector('tbody th').getBoundingClientRect().left - {region}.getBoundingClientRect().left"
        )
        assert abs(browser.run(left)) < 2, table


def test_a_keyboard_skips_the_navigation(browser: Browser, run: RunFolder) -> None:
    for page, target in zip(pages(run), ("content", "issue"), strict=True):
        browser.open(page)
        for key, code in (("Tab", 9), ("Enter", 13)):
            for kind in ("keyDown", "keyUp"):
                text = {"text": "\r"} if key == "Enter" else {}
                browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
        assert browser.run("location.hash") == f"#{target}"
        assert browser.run(f"document.querySelectorAll('#{target}').length") == 1


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
            page.read_text(encoding="utf-8").replace("</header>", f"</header>{inserted}{remote}"), encoding="utf-8"
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
    assert browser.run("document.querySelector('#summary').textContent").startswith("1 of 24 cells")
    link = browser.run(f"{table}[0].querySelector('.files a').href").split("#")[0]
    assert link == (run.cell_dir(Cell("owner__repo-7", MODELS[1])) / "cell.html").resolve().as_uri()
    browser.run("document.querySelector('[data-cluster=\"1\"]').click()")
    assert browser.run("document.querySelector('#summary').textContent").startswith("16 of 24 cells")
    # a heading is a button: it takes the focus and Enter
    browser.run("document.querySelectorAll('#results thead button')[1].focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    resolved = browser.run("[...document.querySelectorAll('#results tbody tr')].map((row) => +row.cells[1].dataset.v)")
    assert resolved == sorted(resolved, reverse=True)
    assert browser.run("document.querySelectorAll('#results thead th')[1].ariaSort") == "descending"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1400, 900)])
def test_the_answer_is_on_the_first_screen(browser: Browser, tmp_path: Path, width: int, height: int) -> None:
    results = hostile_results()
    assert results.recommendation is not None
    statements = [Statement(label=label, text=text) for label, text in LONG_ANSWER.items()]
    advice = results.recommendation.model_copy(update={"headline": LONG_HEADLINE, "statements": statements})
    page = write_report(tmp_path, results.model_copy(update={"recommendation": advice, "dataset": "verified"}))
    browser.open(page, width=width, height=height)
    ends = browser.run(
        "[...document.querySelectorAll('.answers:not(.more) p')].map((p) => p.getBoundingClientRect().bottom)"
    )
    assert len(ends) == 3
    assert max(ends) <= height


def test_a_phone_comes_to_the_cells_soon(browser: Browser, run: RunFolder) -> None:
    browser.open(run.path / "results.html", width=390, height=844)
    assert browser.run("document.getElementById('cells').getBoundingClientRect().top") < 10 * 844
    # what is folded opens where a link leads
    assert not browser.run("document.querySelector('#groups > details').open")
    browser.run("document.querySelector('nav a[href=\"#groups\"]').click()")
    assert browser.run("document.querySelector('#groups > details').open")


def test_the_matrix_shows_every_cell_and_leads_to_the_list(browser: Browser, run: RunFolder) -> None:
    browser.open(run.path / "results.html")
    drawn = "document.querySelector('.matrix path.good') ? done() : setTimeout(look, 20)"
    browser.run(f"new Promise(done => {{ const look = () => {drawn}; look() }})")  # by a script, after the page
    told = "document.querySelector('#matrix .told').textContent"
    squares = "document.querySelector('.matrix path.{}').getAttribute('d').split('M').length - 1"
    assert [browser.run(squares.format(state)) for state in ("good", "bad")] == [16, 8]
    browser.run("document.querySelector('.matrix').focus()")
    seen = []
    for key, code in [("ArrowRight", 39)] * 12:
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code)
        seen.append(browser.run(told).split(" · ")[0])
    assert sorted(seen) == sorted(INSTANCES)
    assert "resolved by 1 of 2" in browser.run(told) or "resolved by 2 of 2" in browser.run(told)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13)
    browser.run("new Promise((done) => { setTimeout(done, 50); })")
    assert browser.run("location.hash") == f"#cell={seen[-1]}"
    assert browser.run("document.querySelector('#summary').textContent").startswith("2 of 24 cells")


def test_a_cells_address_leads_to_it(browser: Browser, run: RunFolder) -> None:
    page = run.path / "results.html"
    browser.open(page)
    table = "document.querySelector('#cells-table').tBodies[0].rows"
    addresses = browser.run(f"[...{table}].map((row) => row.cells[1].querySelector('a').href)")
    assert len(set(addresses)) == 24
    rows = browser.run(f"[...{table}].map((row) => [row.cells[0].textContent, row.cells[1].textContent])")
    for address, row in list(zip(addresses, rows, strict=True))[1:4]:
        browser.call("Page.navigate", url="about:blank")
        browser.open(page, fragment=address.partition("#")[2])
        assert browser.run(f"[...{table}].map((row) => [row.cells[0].textContent, row.cells[1].textContent])") == [row]
    browser.run("document.querySelector('#all-cells').click()")
    assert browser.run(f"{table}.length") == 24


def test_the_cells_are_saved_as_csv_that_polyswe_reads(browser: Browser, run: RunFolder, tmp_path: Path) -> None:
    browser.open(run.path / "results.html")
    browser.run(
        "(() => { URL.createObjectURL = (blob) => { window.saved = blob.text(); return '#'; };"
        "document.querySelector('#cells-csv').click(); })()"
    )
    (tmp_path / "cells.csv").write_text(browser.run("window.saved"), encoding="utf-8")
    saved, written = (read_csv(read_source(str(path))) for path in (tmp_path / "cells.csv", run.path / "outcomes.csv"))
    for ours, theirs in zip(saved.runs, written.runs, strict=True):
        assert ours.name == theirs.name
        assert {name: cell.resolved for name, cell in ours.cells.items()} == {
            name: cell.resolved for name, cell in theirs.cells.items()
        }


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
