"""The page: every number in it is the document's, and no text in it is markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from builders.report_sources import HOSTILE, full_run, run_of, small_run, stage
from report.document import gather
from report.formats import FORMATS, NOTHING, formatted
from report.page import render

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """The numbers of a page as (pointer, value, format, text), its tags, and its visible text."""

    def __init__(self, text):
        super().__init__()
        self.numbers, self.tags, self.ids, self.text = [], [], [], ""
        self.open: list[tuple[str, dict]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, own = self.open[-1] if self.open else ("", {})
        if "data-key" in own:
            self.numbers.append((own["data-key"], own["data-value"], own["data-format"], data))
        if tag not in ("script", "style"):
            self.text += data


def at(document, pointer):
    value = document
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return gather([full_run(tmp_path_factory.mktemp("run"))], 3.0)


@pytest.fixture(scope="module")
def written(document):
    return render(document)


def test_every_number_is_that_of_the_document(document, written):
    numbers = Page(written).numbers
    assert len(numbers) > 600
    for pointer, value, name, text in numbers:
        known = at(document, pointer)
        assert value == ("" if known is None else repr(known)), pointer
        assert text == formatted(known, name), pointer


def test_the_text_of_a_number_agrees_with_its_value(written):
    for pointer, value, name, text in Page(written).numbers:
        if text == NOTHING:
            assert value == ""
            continue
        shown, scale = text.replace(",", ""), 100 if name in ("percent", "change") else 1
        digits = len(shown.partition(".")[2]) if "e" not in shown else 0
        unit = abs(float(value)) * 0.01 if "e" in shown else 10**-digits
        assert abs(float(shown) - scale * float(value)) <= 0.51 * unit, pointer


def test_every_figure_of_the_page_has_a_drawing_and_its_numbers(written):
    page = Page(written)
    figures = [own for tag, own in page.tags if tag == "figure"]
    drawings = [own for tag, own in page.tags if tag == "svg" and own.get("role") == "img"]
    assert len(figures) == len(drawings) > 8 and all(own["aria-label"] for own in drawings)
    assert sum(tag == "details" for tag, _ in page.tags) == len(figures) + 1


def test_every_section_is_there_and_long_tables_say_that_they_are_cut(written):
    page = Page(written)
    links = [own["href"] for tag, own in page.tags if tag == "a" and own["href"] != "#main"]
    assert len(links) == 11
    assert "200 of 899 points" in page.text
    for text in ("AUC 0.60 [0.50, 0.70]", "on 40 prompts", "judge rubric agrees", "loops"):
        assert text in page.text or text in written


def test_ids_are_unique_and_links_lead_to_them(written):
    page = Page(written)
    assert len(page.ids) == len(set(page.ids))
    links = {own["href"][1:] for tag, own in page.tags if tag == "a"}
    assert links and links <= set(page.ids)
    assert {own["aria-labelledby"] for tag, own in page.tags if tag == "section"} <= set(page.ids)


def test_equal_documents_give_equal_bytes(document, written):
    assert written == render(json.loads(json.dumps(document)))


def test_the_page_loads_nothing(written):
    page = written
    tags = Page(page).tags
    assert not any(own.get("src") or tag in ("link", "iframe", "img") for tag, own in tags)
    assert not re.search(r"url\((?!#)|@import", page)


def test_texts_of_a_run_are_never_markup_and_hide_nothing(tmp_path):
    page = render(gather([small_run(tmp_path, HOSTILE, HOSTILE)]))
    shown = Page(page)
    assert "window.hacked" in shown.text and "‹U+202E›" in shown.text
    assert not any(tag == "img" or "onerror" in own for tag, own in shown.tags)
    assert [own.get("type") for tag, own in shown.tags if tag == "script"] == [
        "application/json",
        None,
    ]
    assert "\u202e" not in page and "\x1b" not in page


def test_a_run_without_anything_has_a_page(tmp_path):
    waiting = stage(tmp_path, "base", state="failed", record=None, note="it broke")
    page = Page(render(gather([run_of([waiting])])))
    assert "it broke" in page.text and "Not finished" not in page.text
    assert {"summary", "ran", "provenance"} <= set(page.ids)
    assert not {"scores", "curves", "samples", "judges"} & set(page.ids)


def test_adopted_and_pruned_stages_say_so(tmp_path):
    stages = [stage(tmp_path, "a", adopted="abc123"), stage(tmp_path, "b", pruned=True)]
    text = Page(render(gather([run_of(stages)]))).text
    assert "adopted abc123" in text and "removed by runtime.keep" in text


def test_without_javascript_only_the_viewer_is_missing(written):
    page = Page(written)
    assert "The sample viewer needs JavaScript" in page.text
    assert next(own for _, own in page.tags if own.get("id") == "viewer")["hidden"] is None


def test_the_policy_allows_the_viewers_script_alone(written):
    page = written
    (policy,) = re.findall(r'Security-Policy" content="([^"]+)"', page)
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_several_runs_are_on_one_page(tmp_path):
    page = Page(render(gather([small_run(tmp_path / name, name, name) for name in "ab"])))
    assert "Settings that differ" in page.text and "Report of 2 runs" in page.text
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("value", [0.0, 1.0, 5.3e-06, 0.99996, 123456.7, -0.5, 3, 1e20])
def test_numbers_keep_four_digits(value):
    text = FORMATS["number"](value).replace(",", "")
    assert float(text) == pytest.approx(value, rel=0.006 if "e" in text else 6e-4)
