"""The model card that `uphill export` writes: what was measured, readable by the hub, the same
bytes each time."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from builders.command_line import pretend
from common.files import read_json, write_json
from common.markdown import code, table
from pipeline.cli.card.facts import facts_of
from pipeline.cli.card.measured import corner_cases, protocol, scores
from pipeline.cli.card.metadata import metadata
from pipeline.execution.run_folder import find_checkpoint

CARD = Path("out/README.md")
HOSTILE = "</code><script>alert(1)</script>|`--- \x1b[2J\u202e\n---\n# [a](javascript:x) &amp; \\"


@pytest.fixture
def exported(folder, uphill):
    pretend({"base": 0, "sft": 9, "more": 8})
    assert uphill("export", "small:more", "out")[0] == 0
    return uphill


def test_the_card_has_the_scores_of_compare(exported):
    text = CARD.read_text()
    rows = json.loads(exported("compare", "small", "--json")[1])["rows"]
    own = next(row for row in rows if row["stage"] == "more" and row["suite"] == "held_out")
    low, high = 100 * own["delta_low"], 100 * own["delta_high"]
    assert f"| `held_out` | 10 | 80.0 [60.0, 100.0] | -10.0 [{low:+.1f}, {high:+.1f}] | 1 |" in text
    assert "| `held_out` | 10 | 0.0 [0.0, 20.0] | 90.0 [70.0, 100.0] +90.0* |" in text
    assert "were not examined" in text and "Nobody gave one: it is unknown." in text
    assert "starts from random weights" in text and "| `sft` | `sft` | `base`" in text


def test_the_hub_can_read_the_metadata(exported):
    data = data_of(CARD.read_text())
    assert data.license == "unknown" and data.pipeline_tag == "text-generation"
    assert {(one.dataset_name, one.metric_value) for one in data.eval_results or ()} == {
        ("held_out", 0.8),
        ("held_out/words", 0.8),
    }
    index = data.to_dict()["model-index"][0]
    assert index["name"] == "small-more" and len(index["results"]) == 2


def test_the_same_checkpoint_gives_the_same_bytes_and_replaces_its_own_card(exported):
    before = CARD.read_bytes()
    assert exported("export", "small:more", "out", "--force")[0] == 0
    assert CARD.read_bytes() == before
    CARD.write_text(CARD.read_text().replace("unknown", "mine"))
    code_, _, err = exported("export", "small:more", "out", "--force")
    assert code_ == 2 and "contains README.md, not part of a checkpoint" in err


def test_a_checkpoint_without_evaluation_says_so(folder, uphill):
    pretend({"base": 0, "sft": 9, "more": 8}, until="sft")
    assert uphill("export", "small:sft", "out", "--licence", "apache-2.0")[0] == 0
    text, data = CARD.read_text(), data_of(CARD.read_text())
    assert "**This checkpoint was not evaluated.**" in text and data.eval_results is None
    assert data.license == "apache-2.0" and "`apache-2.0`, as given by" in text
    code_, _, err = uphill("export", "small:sft", "other", "--licence", "my own: <b>")
    assert code_ == 2 and "no licence id" in err and not Path("other").exists()


def test_a_changed_evaluation_is_never_published(exported):
    path = Path("runs/small/evals/more/results.json")
    write_json(path, {**read_json(path), "more": 1})
    code_, _, err = exported("export", "small:more", "again")
    assert code_ == 1 and str(path) in err and not Path("again").exists()


def test_hostile_names_are_text_in_every_section_and_in_the_metadata(exported):
    facts = facts_of(find_checkpoint("small:more", Path("runs")), None)
    rate = {"rate": 0.1, "rate_low": 0.0, "rate_high": 0.2, "rate_delta": None}
    rate |= {"rate_delta_low": None, "rate_delta_high": None}
    rows = [{**row, "suite": HOSTILE} for row in facts.rows]
    facts = replace(facts, rows=[*rows, {**facts.own[0], **rate, "suite": f"c/{HOSTILE}"}])
    facts = replace(facts, protocol={"suites": {HOSTILE: {"limit": 3}}})
    for text in (scores(facts), corner_cases(facts), protocol(facts)):
        require_no_markup(text)
    head = metadata(facts).to_yaml(line_break="\n")
    results = data_of(f"---\n{head}\n---\n").eval_results or []
    names = [one.dataset_name for one in results]
    assert "\x1b" not in head and len(names) == 3 and "<script>" in names[0]


@given(st.text() | st.text("`|<>&\\[]()!*_~#- \n"))
def test_a_name_in_a_table_is_one_cell_of_text(name):
    text = table([["a", "b"], [code(f"x{name}"), "end"]])
    require_no_markup(text)
    assert MarkdownIt("gfm-like", {"linkify": False}).render(text).count("<td>") == 2


def data_of(text: str) -> ModelCardData:
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    return data


def require_no_markup(text):
    for block in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text):
        assert block.type not in ("html_block", "hr", "heading_open", "fence"), block
        for token in block.children or ():
            known = token.type != "html_inline" or token.content in ("<code>", "</code>")
            assert known and token.type not in ("link_open", "image"), token
