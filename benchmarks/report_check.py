"""Open reports in a browser, and check what only a browser can tell.

    make report-check             # or: .venv/bin/python -m benchmarks.report_check [RUN ...]

Two made-up runs are checked, and every RUN that is named: one whose texts are all hostile, and one
of 100,000 answers. Of each page, at 1280 and at 390 pixels: no message on the console, no request
that fails or leaves the page, nothing wider than the screen, filters that Tab reaches and that
work, and no script of a text that ran. `--screenshots DIR` keeps pictures, light and dark."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report_browser import Browser, Tab
from benchmarks.report_runs import hostile_run, large_run
from pipeline.cli.report import document_of, write_report
from report.document import gather

WIDTHS = (1280, 390)
MOST_BYTES = {"large": 20_000_000, "hostile": 5_000_000}
"""Of a page, by run; other runs have the limit of `hostile`."""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUSED = "document.activeElement.name || document.activeElement.textContent.slice(0, 20)"
HACKED = "typeof window.hacked !== 'undefined' || document.querySelector('main img') !== null"
CARDS = "document.querySelectorAll('#cards article').length"
FOUND = "document.getElementById('found').textContent"
CHOOSE = """(() => {{
const select = document.forms.filters.elements.change;
select.value = '{value}';
select.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"""
FILTERS = ("suite", "capability", "change", "text")


def problems_of(tab: Tab, page: Path, width: int) -> Iterator[str]:
    """What is wrong with a page at a width."""
    tab.open(page, width)
    yield from tab.complaints
    if overflow := tab.value(OVERFLOW):
        yield f"is {overflow} pixels wider than the screen"
    if tab.value(HACKED):
        yield "a text of the run became markup or ran as a script"
    reached = {tab.tab_key(FOCUSED) for _ in range(400)} if width == WIDTHS[0] else set(FILTERS)
    if missing := set(FILTERS) - reached:
        yield f"Tab does not reach {', '.join(sorted(missing))}"
    every = tab.value(FOUND)
    if not 0 < tab.value(CARDS) <= 50:
        yield f"shows {tab.value(CARDS)} samples at once"
    tab.value(CHOOSE.format(value="gained"))
    time.sleep(0.3)
    if tab.value(FOUND) == every:
        yield "the filter `wrong to right` changes nothing"


def without_scripts(tab: Tab, page: Path) -> Iterator[str]:
    """What is wrong with a page where nothing runs."""
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page, WIDTHS[0])
    yield from tab.complaints
    if not tab.value("document.querySelector('noscript p').offsetHeight"):
        yield "does not say that the viewer needs JavaScript"
    if tab.value("document.getElementById('viewer').offsetHeight"):
        yield "shows a viewer that cannot work"


def check(browser: Browser, name: str, page: Path, screenshots: Path | None) -> dict[str, Any]:
    """The figures of a page, and what is wrong with it."""
    size, problems = page.stat().st_size, []
    if size > (limit := MOST_BYTES.get(name, MOST_BYTES["hostile"])):
        problems.append(f"has {size} bytes, more than {limit}")
    begin = time.monotonic()
    for width in WIDTHS:
        tab = browser.tab()
        problems += [f"at {width}: {text}" for text in problems_of(tab, page, width)]
        tab.close()
    tab = browser.tab()
    problems += [f"without scripts: {text}" for text in without_scripts(tab, page)]
    tab.close()
    if screenshots is not None:
        _pictures(browser, name, page, screenshots)
    seconds = round(time.monotonic() - begin, 1)
    return {"page": name, "bytes": size, "seconds_in_browser": seconds, "problems": problems}


def _pictures(browser: Browser, name: str, page: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for width, screen in zip(WIDTHS, ("desktop", "phone"), strict=True):
        for scheme in ("light", "dark"):
            tab = browser.tab()
            tab.open(page, width, scheme)
            tab.screenshot(folder / f"{name}-{screen}-{scheme}.png")
            tab.close()


def pages(runs: Sequence[Path], folder: Path) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """Name, page, and seconds and memory that it took, of every run."""
    made = {"hostile": hostile_run, "large": large_run}
    for name, build in made.items():
        source = build(folder / name)
        begin = time.monotonic()
        page = write_report(gather([source]), folder / f"{name}.html")
        yield name, page, {"seconds_to_write": round(time.monotonic() - begin, 1)}
    for run in runs:
        begin = time.monotonic()
        page = write_report(document_of([run], None), folder / f"{run.name}.html")
        yield run.name, page, {"seconds_to_write": round(time.monotonic() - begin, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--screenshots", type=Path, metavar="DIR")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        for name, page, made in pages(options.runs, Path(folder)):
            row = {**check(browser, name, page, options.screenshots), **made}
            found.append(row)
            print(json.dumps(row))
    return 1 if any(row["problems"] for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
