"""What commands print holds no text that would steer a terminal, and changes no data."""

import json
import re
import sys
import unicodedata

import pytest
import yaml

from common.errors import BadInput
from pipeline.cli.output import print_json, print_table, print_text
from pipeline.cli.overview import recipe_text
from pipeline.execution.progress import Reporter

HOSTILE = "a\x1b[2J\x9b31m\u202eb\u2066\u200b\ud800 \x07c[bold]x[/bold] :heart: <b>|"
SHOWN = r"a\x1b[2J\x9b31m\u202eb\u2066\u200b\ud800 \x07c[bold]x[/bold] :heart: <b>|"


def controls(text):
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs")} - {"\n", "\t"}


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_shows_hostile_cells_as_text(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    print_table([["name", "text"], ["x", HOSTILE], ["y", "two\nlines"]])
    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)  # Rich's own bold header
    assert SHOWN in out and r"two\nlines" in out and controls(out) == set()


def test_json_has_the_data_and_only_escapes(capsys):
    print_json({"text": HOSTILE})
    out = capsys.readouterr().out
    assert controls(out) == set() and json.loads(out) == {"text": HOSTILE}


def test_lines_and_messages_show_hostile_text(capsys):
    print_text(HOSTILE)
    Reporter(bars=False).error(BadInput(f"row 3: {HOSTILE}", "correct it"))
    Reporter(bars=False).line("x" * 200_000)
    out, err = capsys.readouterr()
    assert SHOWN in out and SHOWN in err and controls(out + err) == set()
    assert "(100,000 more characters)" in err


def test_a_checked_recipe_can_be_read_again():
    text = recipe_text({"path": "a\n\x1b.yaml", "recipe": {"name": "é\u202e\x1b"}})
    assert controls(text) == set() and yaml.safe_load(text) == {"name": "é\u202e\x1b"}
