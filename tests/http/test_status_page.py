"""The status page in a real browser."""

from __future__ import annotations

import re
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

from fake_engine import FakeEncoder, byte_tokenizer
from live_server import live, request_bytes
from nolakit.http.app import Bounds
from nolakit.http.keys import Key, Keys, hash_key
from nolakit.http.served import Served

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser; `apt-get install chromium` as root, which `make test` does, gets one"
)
FAST = Bounds(sample_seconds=0.1)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page that may load nothing but from the server, and whose errors are the test's."""
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.problems = problems
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    page.close()


def test_the_page_shows_what_the_engine_does(served, metrics, engine, store, page):
    with live(served, metrics, bounds=FAST) as running:
        for model in ("base", "team/one", "team/two", "team/two"):
            running.post("/v1/completions", model=model, prompt="hello", max_tokens=50)
        page.goto(running.url + "/")
        expect(page.locator("#state")).to_have_text("live")
        expect(page.locator("h1")).to_have_text("base")
        expect(page.locator("#about")).to_contain_text("3 adapters")
        expect(page.locator("#residency")).to_have_text("2 of 8 loaded")
        expect(page.locator("#slots li")).to_have_count(8)
        expect(page.locator("#slots li.used")).to_have_text(["team/one", "team/two"])
        expect(page.locator("#plots svg")).to_have_count(4)
        for title in ("Tokens a second", "Time to first token", "Requests", "Hit rate"):
            expect(page.get_by_role("img", name=title)).to_be_visible()
        expect(page.locator("#plots svg path.a").first).to_have_attribute("d", re.compile("^M.*L"))
        tile = page.locator("#tiles div", has_text="hit rate").locator("b")
        expect(tile).to_have_text("33 %")
        engine.hold(steps=1)
        with running.raw(busy()):
            expect(page.locator("#slots li.busy")).to_have_text("team/one · 1", timeout=10_000)
        engine.go()
        expect(page.locator("#slots li.busy")).to_have_count(0, timeout=10_000)
        assert page.problems == []
        assert all(url.startswith((running.url, "data:")) for url in page.requested)
    expect(page.locator("#state.bad")).to_be_visible(
        timeout=10_000
    )  # the server has gone, and the page says so


def busy() -> bytes:
    return request_bytes("/v1/completions", {"model": "team/one", "prompt": "hello", "max_tokens": 4000})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_the_page_fits_and_can_be_read(running, browser, scheme, width):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(running.url + "/")
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#plots svg")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for place in ("h1", "#tiles span", "#slots li", "h2", "#plots svg text"):
        ratio = page.locator(place).first.evaluate(CONTRAST)
        assert ratio >= 4.5, (place, ratio)  # WCAG's
    page.close()


CONTRAST = """(element) => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => channels(color).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  while (behind.parentElement && (c => c.length > 3 && c[3] === 0)(channels(getComputedStyle(behind).backgroundColor)))
    behind = behind.parentElement;
  const style = getComputedStyle(element);
  const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [a, b] = [light(ink), light(getComputedStyle(behind).backgroundColor)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def test_a_page_asks_for_a_key_where_one_is_needed(served, metrics, page):
    keys = Keys([Key("people", hash_key("nk-people"))])
    with live(served, metrics, keys=keys) as running:
        page.goto(running.url + "/")
        expect(page.locator("#locked")).to_be_visible()
        expect(page.locator("#state.bad")).to_contain_text("no key")
        page.get_by_label("API key").fill("nk-people")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#state")).to_have_text("live", timeout=10_000)
        expect(page.locator("#locked")).to_be_hidden()
        expect(page.locator("#slots li")).to_have_count(8)
        assert "nk-people" not in page.url


def test_an_encoder_has_no_tokens_to_show(store, metrics, page):
    with live(Served("base", "embeddings", FakeEncoder(store), byte_tokenizer()), metrics) as running:
        page.goto(running.url + "/")
        expect(page.get_by_role("img", name="Requests a second")).to_be_visible()
        expect(page.locator("#plots svg")).to_have_count(3)
        assert page.problems == []


def test_a_name_is_text_wherever_it_is_shown(engine, metrics, page):
    served = Served("<img src=x onerror=alert(1)>", "causal-lm", engine, byte_tokenizer())
    with live(served, metrics) as running:
        page.goto(running.url + "/")
        expect(page.locator("h1")).to_have_text("<img src=x onerror=alert(1)>")
        assert page.locator("h1 img").count() == 0
