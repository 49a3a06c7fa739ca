"""The documents: the recipe reference is in step with the code, links lead somewhere, nothing is
out of reach."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from docs.recipe_reference import PAGE, render, slug
from pipeline.checkout import PACKAGES
from pipeline.recipe.load import load_recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")]
PAGES += sorted(DOCS.rglob("*.md"))
README_LINES = 160
MARKDOWN_LINE = 120
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
RECIPE = re.compile(r"^```yaml\n(name: .*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^]]*])*]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    """The page without its fenced code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, the second of equal ones with `-1` and so on, as GitHub has it."""
    names: list[str] = []
    for heading in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        name = slug(heading)
        repeats = sum(
            other == name or re.fullmatch(rf"{re.escape(name)}-\d+", other) is not None
            for other in names
        )
        names.append(f"{name}-{repeats}" if repeats else name)
    return set(names)


def links(page: Path) -> list[tuple[Path, str]]:
    """(target, anchor) of every relative link, pictures included."""
    pairs = []
    for address in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", address):
            path, _, anchor = unquote(address).partition("#")
            pairs.append(((page.parent / path).resolve() if path else page, anchor))
    return pairs


def short(page: Any) -> str:
    return str(page.relative_to(ROOT))


def test_the_recipe_reference_is_in_step_with_the_config_classes():
    assert PAGE.read_text() == render(), "run `.venv/bin/python docs/recipe_reference.py`"


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = [short(target) for target, _ in links(page) if not target.exists()]
    assert broken == []
    missing = [
        f"{short(target)}#{anchor}"
        for target, anchor in links(page)
        if anchor and anchor not in anchors(target)
    ]
    assert missing == []


def test_every_document_is_reachable_from_the_index():
    seen, waiting = set[Path](), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            inside = [target for target, _ in links(page) if DOCS in target.parents]
            waiting += [target for target in inside if target.suffix == ".md"]
            seen.update(target for target in inside if target.suffix != ".md")
    files = {path for path in DOCS.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {short(path) for path in files - seen} == set()


def test_recipes_in_the_documents_are_valid(tmp_path):
    (tmp_path / "my_prompts.jsonl").write_text('{"prompt": "A or B? (A) a (B) b", "answer": "B"}\n')
    (tmp_path / "my_reward.py").write_text("def score(prompt, answer): return 1\n")
    recipes = [text for page in PAGES for text in RECIPE.findall(page.read_text())]
    assert len(recipes) >= 2
    for text in recipes:
        (tmp_path / "recipe.yaml").write_text(text)
        load_recipe(tmp_path / "recipe.yaml")


def test_the_readme_is_short_and_lines_are_not_long():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES
    long = [
        f"{short(page)}:{number}"
        for page in PAGES
        for number, line in enumerate(page.read_text().splitlines(), 1)
        # A row of a table or of a JSON lines file cannot be broken.
        if len(line) > MARKDOWN_LINE and not line.startswith(("|", "{"))
    ]
    assert long == []


def test_every_file_that_a_text_names_is_there():
    packages = "|".join([*PACKAGES, "tests", "benchmarks", "docs", "recipes"])
    named = re.compile(rf"`((?:{packages})/[\w/.-]+\.(?:py|md|yaml|json|jsonl|txt))`")
    texts = [*PAGES, *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
    results = ROOT / "docs" / "results"
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts
        if not path.is_relative_to(results)  # they were printed at other commits
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists() and "<" not in name
    ]
    assert missing == []
