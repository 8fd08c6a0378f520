"""What a person sees of an HTML report, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from core.evaluation.report import sample_reports as sample
from core.evaluation.report.chromium import Chromium

from llama_guard_core.evaluation.report import as_html

SCHEMES = ("light", "dark")
TEXTS = {"xstest_prompts.csv:17": "KNIFE and tomato\nsecond line", "xstest_prompts.csv:18": "BOMB calorimeter"}
EVERY_KIND = {
    "full": cache(lambda: as_html(sample.report(), texts=TEXTS)),
    "hostile": cache(lambda: as_html(sample.hostile(), texts={sample.HOSTILE: sample.HOSTILE})),
    "nothing known": cache(lambda: as_html({"evaluations": [sample.nothing_known()]})),
    "empty": cache(lambda: as_html({})),
}
ONE_PIXEL = """
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const pixel = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
"""
# Every text that is shown: how its colour stands out from the nearest background that is not see-through.
CONTRASTS = f"""() => {{ {ONE_PIXEL}
  const behind = (element) => {{
    for (let at = element; at; at = at.parentElement) {{
      const colour = pixel(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }}
    return [255, 255, 255, 255];
  }};
  const luminance = ([red, green, blue]) => [red, green, blue]
    .map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {{
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("title, desc")) continue;
    const style = getComputedStyle(element);
    const colour = pixel(element.tagName === "text" ? style.fill : style.color);
    const [light, dark] = [luminance(colour), luminance(behind(element))].sort((a, b) => b - a);
    found.push([walker.currentNode.data.trim().slice(0, 30), (light + 0.05) / (dark + 0.05), colour.join()]);
  }}
  return found;
}}"""
STICKING_OUT = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && element.getBoundingClientRect().right > innerWidth + 0.5)
  .filter((element) => !element.parentElement.closest(".scroll"))
  .map((element) => element.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("pages"))
    yield chromium
    chromium.close()


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_is_read_easily_in_light_and_dark(chromium, kind, scheme):
    with chromium.showing(EVERY_KIND[kind](), scheme) as page:
        contrasts = page.evaluate(CONTRASTS)

    assert len(contrasts) >= 5
    assert [] == [(text, ratio) for text, ratio, _ in contrasts if ratio < 4.5]


def test_light_and_dark_are_two_colour_schemes_for_plots_too(chromium):
    seen = {}
    for scheme in SCHEMES:
        with chromium.showing(as_html(sample.report()), scheme) as page:
            text = {colour for _, _, colour in page.evaluate(CONTRASTS)}
            page_colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            bars = page.evaluate("""() => [...document.querySelectorAll("svg use, svg path:not(defs *)")]
                .map((path) => getComputedStyle(path)).flatMap((style) => [style.fill, style.stroke])
                .filter((colour) => colour !== "none")""")
            seen[scheme] = (text, {page_colour}, set(bars))

    for light, dark in zip(*seen.values(), strict=True):
        assert light
        assert dark
        assert set() == light & dark


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_of_the_page_but_wide_tables_in_their_boxes(chromium, kind, width):
    with chromium.showing(EVERY_KIND[kind](), width=width) as page:
        assert width == page.evaluate("document.documentElement.scrollWidth")
        assert [] == page.evaluate(STICKING_OUT)


@pytest.mark.parametrize("width", [360, 1280])
def test_every_plot_is_there_has_a_size_and_says_what_it_shows(chromium, width):
    with chromium.showing(as_html(sample.report()), width=width) as page:
        plots = page.evaluate("""() => [...document.querySelectorAll("svg")].map((svg) => ({
            title: svg.querySelector("title").textContent,
            named: svg.getAttribute("aria-labelledby").split(" ").every((id) => svg.contains(document.getElementById(id))),
            described: svg.querySelector("desc").textContent.length,
            area: svg.getBoundingClientRect().width * svg.getBoundingClientRect().height,
            marks: [...svg.querySelectorAll("path, use")].filter((mark) => mark.getBoundingClientRect().width).length,
        }))""")
        twice = page.evaluate("""() => {
            const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
            return ids.filter((id, place) => ids.indexOf(id) !== place);
        }""")

    assert [
        "Recall and false-positive rate, side by side",
        "Recall and rightly named share by hazard",
        "ROC curve",
        "Precision-recall curve",
        "Latency of verdicts",
        "Recall and rightly named share by hazard",
        "Latency of verdicts",
    ] == [plot["title"] for plot in plots]
    for plot in plots:
        assert plot["area"] > 20_000
        assert plot["named"]
        assert plot["described"] > 20
        assert plot["marks"] >= 5
    assert [] == twice


def test_a_judged_text_is_seen_only_once_it_is_asked_for(chromium):
    with chromium.showing(as_html({"evaluations": [sample.evaluation()]}, texts=TEXTS)) as page:
        first = page.locator("pre").first
        assert 2 == page.locator("pre").count()
        assert not first.is_visible()
        assert "KNIFE" not in page.locator("body").inner_text()

        page.get_by_text("show the text (may be harmful)").first.click()

        assert first.is_visible()
        assert "KNIFE and tomato\nsecond line" == first.inner_text()
        assert "BOMB" not in page.locator("body").inner_text()


def test_nothing_from_outside_makes_an_element_or_runs(chromium):
    with chromium.showing(EVERY_KIND["hostile"]()) as page:
        for summary in page.locator("td summary").all():
            summary.click()
        page.wait_for_timeout(100)
        made = page.evaluate("""() => [...document.querySelectorAll("body *")].flatMap((element) => [
            ...(["SCRIPT", "IMG", "IFRAME"].includes(element.tagName) ? [element.tagName] : []),
            ...[...element.attributes].filter(({name, value}) =>
                name.startsWith("on") || /^\\s*javascript:/i.test(value)).map(({name}) => name),
        ])""")
        text = page.locator("body").inner_text()
        plotted = page.locator("svg text").all_text_contents()

        assert [] == made
        assert page.evaluate("window.ran === undefined")
    assert text.count('<script>window.ran=1</script><img src=x onerror="window.ran=1">\'"|`$\\frac$ txt') > 20
    assert any(label.startswith("<script>") for label in plotted)
    assert set() == set(text) & set("\u202e\x00\x1b")


def test_the_page_forbids_itself_scripts_and_the_network(chromium):
    added = "<script>document.title = 'ran'</script><img src='http://127.0.0.1:9/'></body>"
    document = as_html(sample.report()).replace("</body>", added)
    title = ""
    with pytest.raises(AssertionError), chromium.showing(document) as page:  # the browser says what it refused
        title = page.title()

    refused = [message for message in chromium.heard if "Content Security Policy" in message]
    assert "Llama Guard evaluation" == title
    assert 2 == len(refused)
    assert all("blocked" in message for message in refused)


def test_on_paper_there_is_no_dark_page_and_no_folded_text(chromium):
    with chromium.showing(as_html(sample.report(), texts=TEXTS), "dark") as page:
        page.emulate_media(media="print", color_scheme="dark")

        assert "rgb(27, 36, 48)" == page.evaluate("getComputedStyle(document.body).color")
        assert not page.locator("pre").first.is_visible()
        assert [] == [text for text, ratio, _ in page.evaluate(CONTRASTS) if ratio < 4.5]
