"""The report's document: what is gathered from the files of a run."""

from dataclasses import replace

import pytest

from builders.report_sources import (
    answer,
    evaluation,
    group,
    ledger_of,
    rl_rows,
    run_of,
    small_run,
    stage,
)
from common.artifacts import (
    AUDIT,
    BAD_ROWS,
    CONTAMINATED,
    GROUPS,
    METRICS,
    REASONS,
    RELIABILITY,
    REPEATED,
)
from common.errors import BadInput
from report.document import gather
from report.reading import thinned


def one(run):
    return gather([run])["runs"][0]


def test_the_head_says_what_training_changed(tmp_path):
    run = one(small_run(tmp_path))
    assert run["head"]["state"] == "finished"
    assert "better, beyond chance" in run["head"]["summary"][1]
    (suite,) = run["first_and_last"]["suites"]
    assert suite["after"]["verdict"] == "better" and suite["after"]["change"] > 0.5


def test_a_cost_is_seconds_times_the_price(tmp_path):
    ran = gather([small_run(tmp_path)], 50.0)["runs"][0]["ran"]
    assert ran["rows"][0]["cost"] == pytest.approx(36 * 50 / 3600)
    assert ran["total"]["cost"] == pytest.approx(4 * 0.5)
    assert ran["rows"][0]["tokens_per_second"] == pytest.approx(10)


def test_the_funnel_counts_by_capability(tmp_path):
    dropped = [
        {"kind": "duplicate", "capability": "words"},
        {"kind": "held_out", "capability": "b"},
    ]
    counts = {"words": {"training": 3, "held_out": 1}, "b": {"training": 2, "held_out": 0}}
    files = {REPEATED.file: dropped, CONTAMINATED.file: [{"capability": "b"}], BAD_ROWS.file: []}
    prompts = stage(tmp_path, "prompts", files=files, metrics={"by_capability": counts})
    reasons = [{"decision": "kept", "capability": "b"}, {"decision": "dropped", "capability": "b"}]
    judged = stage(tmp_path, "judged", files={REASONS.file: reasons})
    groups = [group("x", [1.0, 0.0]), group("x", [1.0, 1.0]), group("y", [0.0, 0.0])]
    learned = stage(
        tmp_path, "rl", files={GROUPS.file: [*groups, group("z", [1.0, 0.0], probe=True)]}
    )
    ledger_of(learned.folder, {"x": "active", "y": "retired"})
    funnel = one(run_of([prompts, judged, learned]))["funnel"]
    assert funnel["capabilities"] == ["b", "words"]
    found = {step["name"]: step["counts"] for step in funnel["steps"]}
    assert found["read"] == [4, 5] and found["for training"] == [2, 3]
    assert found["kept by the judge filter"] == [1, 0]
    assert found["drawn"] == [0, 2] and found["with a mixed group"] == [0, 1]
    assert found["retired at the end"] == [0, 1]


def test_a_ledger_is_read_without_touching_its_folder(tmp_path):
    learned = stage(tmp_path, "rl", files={GROUPS.file: [group("x", [1.0, 0.0])]})
    ledger_of(learned.folder, {"x": "active"})
    before = sorted(path.name for path in learned.folder.iterdir())
    one(run_of([learned]))
    assert sorted(path.name for path in learned.folder.iterdir()) == before


def test_curves_have_the_metrics_that_are_there(tmp_path):
    rows = rl_rows([0.1, 0.2, 0.3])
    rows[1]["entropy"] = float("nan")
    learned = stage(tmp_path, "rl")
    METRICS.path(learned.folder).write_text(
        "".join(f"{row}\n".replace("'", '"').replace("nan", "NaN") for row in rows)
    )
    run = one(run_of([learned]))
    figures = {figure["id"]: figure for figure in run["curves"][0]["figures"]}
    assert figures["r0s0-reward-seconds"]["x"] == [2, 4, 6]
    assert figures["r0s0-reward-tokens"]["series"][0]["values"] == [0.1, 0.2, 0.3]
    assert figures["r0s0-length"]["series"][0]["values"] == [5, 5, 5]
    assert None not in figures["r0s0-entropy"]["series"][0]["values"]
    assert "r0s0-loss" not in figures and run["difficulty"]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    few = thinned(range(100_000), 400)
    assert len(few) == len(set(few)) == 400 and (few[0], few[-1]) == (0, 99_999)


def test_an_empty_run_has_a_document(tmp_path):
    waiting = stage(tmp_path, "base", state="todo", record=None)
    document = gather([run_of([waiting])])
    run = document["runs"][0]
    assert document["headline"] is document["samples"] is run["funnel"] is None
    assert run["head"]["summary"] == ["No stage is finished yet."]
    assert run["curves"] == run["judging"] == run["provenance"]["stages"] == []


def test_runs_are_set_side_by_side_with_the_settings_that_differ(tmp_path):
    runs = [small_run(tmp_path / name, name, name) for name in ("a", "b")]
    document = gather(runs)
    assert [column["label"] for column in document["headline"]["columns"]][:2] == [
        "a: base",
        "a: learned",
    ]
    assert document["settings"]["rows"] == [{"field": "learned.note", "values": ['"a"', '"b"']}]
    assert len(document["samples"]["columns"]) == 4


def test_only_done_evaluations_count(tmp_path):
    stale = replace(evaluation(tmp_path, "base", [answer(1, True)]), state="stale")
    document = gather([run_of([stale])])
    assert document["headline"] is document["samples"] is None


@pytest.mark.parametrize("artifact", [METRICS, AUDIT, RELIABILITY, REASONS, GROUPS])
def test_a_damaged_file_is_named(tmp_path, artifact):
    learned = stage(tmp_path, "rl")
    ledger_of(learned.folder, {})
    artifact.path(learned.folder).write_text('{"half": \n{"other\n')
    with pytest.raises(BadInput, match=artifact.file):
        gather([run_of([learned])])


def test_a_damaged_ledger_is_named(tmp_path):
    learned = stage(tmp_path, "rl", files={GROUPS.file: [group("x", [1.0])]})
    (learned.folder / "ledger.sqlite").write_bytes(b"no ledger at all")
    with pytest.raises(BadInput, match=r"ledger\.sqlite"):
        gather([run_of([learned])])
