"""Tables of samples, of texts that a model made."""

import json

from common.artifacts import ANSWERS, GROUPS, RESULTS
from pipeline.tracking import samples
from pipeline.tracking.names import evaluation_values
from pipeline.tracking.samples import LENGTH, LIMIT, plain, tables_of

HOSTILE = "\x1b[31m<script>alert(1)</script>\u202eevil\x00 | `*` \ud800"
"""Terminal escapes, a script, an override of the direction of text, half of a character."""


def answer(number, suite="held_out", **more):
    known = {"suite": suite, "id": f"p{number}", "capability": "sums", "correct": False}
    return {**known, "answer": "4", "reference": "5", "text": "4", **more}


def test_texts_steer_neither_a_terminal_nor_the_direction_of_text():
    shown = plain(HOSTILE)
    assert shown == "\\x1b[31m<script>alert(1)</script>\\u202eevil\\x00 | `*` \\ud800"
    assert len(plain("x" * 1_000_000)) < LENGTH + 10
    assert [plain(value) for value in (None, True, 0.5, "é\n\t")] == [None, True, 0.5, "é\n\t"]


def test_answers_of_every_suite_are_in_the_table(tmp_path):
    rows = [answer(n) for n in range(900)] + [answer(n, "gsm8k") for n in range(100)]
    ANSWERS.write(tmp_path, rows)
    [table] = tables_of(tmp_path)
    assert table.name == "samples/answers" and len(table.rows) == LIMIT
    assert table.columns[:2] == ("suite", "id")
    assert sum(row[0] == "gsm8k" for row in table.rows) == 10
    assert table.rows[0] == ["held_out", "p0", "sums", "4", "5", False]


def test_the_last_rollouts_are_in_the_table(tmp_path, monkeypatch):
    member = {"text": "a", "reward": 1.0, "fault": None, "token_ids": [1]}
    for step in range(60):
        group = {"step": step, "prompt_id": "p", "capability": "sums", "members": [member] * 2}
        GROUPS.append(tmp_path, group)
    [table] = tables_of(tmp_path)
    assert [row[0] for row in table.rows] == [step for step in range(10, 60) for _ in range(2)]
    monkeypatch.setattr(samples, "TAIL", 500)  # begins within a line
    [tail] = tables_of(tmp_path)
    assert 0 < len(tail.rows) < 10 and tail.rows == table.rows[-len(tail.rows) :]


def test_scores_have_interval_and_count_in_both_parts(tmp_path):
    part = {"score": 0.5, "low": 0.4, "high": 0.6, "n": 20, "by_capability": {"sums": {"score": 1}}}
    none = {**part, "score": None}
    (tmp_path / "results.json").write_text(
        json.dumps({"suites": {"held_out": {"final": part, "dev": none}}})
    )
    assert RESULTS.path(tmp_path).exists()
    values = evaluation_values(tmp_path)
    assert values["eval/held_out/score"] == 0.5 and values["eval/held_out/n"] == 20
    assert values["eval/held_out/dev/low"] == 0.4 and "eval/held_out/dev/score" not in values
    assert len(values) == 7
