"""The two parts of a suite: who is in which, and what may read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.evaluations import prompt, suite
from common.errors import BadInput
from common.files import write_json
from evals.parts import DEV, FINAL, PARTS, dev_scores, final_scores, in_part, part_of
from evals.suites import load_dev, load_suite, sample
from prompts.schema import write_prompts

SCORE = {"score": 0.5, "low": 0.2, "high": 0.8, "n": 8, "faults": 0}


def ids(prompts):
    return {prompt.id for prompt in prompts}


def test_the_part_of_a_prompt_is_the_same_in_every_run():
    # Changing these moves the prompts of finished runs: raise the version of the evaluate stage.
    assert [part_of(id) for id in ("p0", "p3", "gsm8k:0", "gsm8k:7")] == [DEV, FINAL, DEV, FINAL]


def test_parts_are_about_equal_and_share_no_prompt():
    prompts = load_suite(suite("gsm8k"), None)
    dev, final = in_part(prompts, DEV), in_part(prompts, FINAL)
    assert not ids(dev) & ids(final) and len(dev) + len(final) == len(prompts) == 1319
    assert 600 < len(dev) < 720


def test_more_prompts_move_none_of_the_others():
    few, many = ([prompt(n) for n in range(count)] for count in (40, 90))
    for part in PARTS:
        assert ids(in_part(few, part)) == ids(in_part(many[::-1], part)) & ids(few)


@given(st.sets(st.integers(0, 400), min_size=1, max_size=60), st.data())
def test_a_limit_takes_half_of_each_part_and_smaller_limits_are_subsets(numbers, data):
    prompts = [prompt(n) for n in sorted(numbers)]
    limit = data.draw(st.integers(2, 70))
    drawn = sample(prompts, "x", limit)
    assert len(drawn) == min(limit, len(prompts))
    sizes = {part: len(in_part(drawn, part)) for part in PARTS}
    there = {part: len(in_part(prompts, part)) for part in PARTS}
    for part in PARTS:
        assert sizes[part] >= min(limit // 2, there[part])
    assert ids(sample(prompts, "x", data.draw(st.integers(2, limit)))) <= ids(drawn)


def test_dev_prompts_are_those_of_the_suite_with_a_limit(tmp_path):
    write_prompts(tmp_path / "held_out.parquet", [prompt(n) for n in range(60)])
    both = load_suite(suite(limit=20), tmp_path)
    assert load_dev(suite(), 10, tmp_path) == in_part(both, DEV)
    whole = load_dev(suite(), None, tmp_path)
    assert whole == load_dev(suite(), 59, tmp_path) == in_part(load_suite(suite(), tmp_path), DEV)
    assert ids(load_dev(suite(), 3, tmp_path)) < ids(load_dev(suite(), 10, tmp_path)) < ids(whole)


def test_without_a_dev_part_all_prompts_and_a_whole_limit_are_final(tmp_path):
    write_prompts(tmp_path / "held_out.parquet", [prompt(n) for n in range(60)])
    final = load_suite(suite(dev=False), tmp_path)
    assert final == in_part(load_suite(suite(), tmp_path), FINAL)
    few = load_suite(suite(dev=False, limit=10), tmp_path)
    assert few == in_part(load_suite(suite(limit=20), tmp_path), FINAL) and len(few) == 10


def test_what_decides_holds_nothing_of_the_final_part(tmp_path):
    other = {**SCORE, "score": 0.9}
    write_json(tmp_path / "results.json", {"suites": {"held_out": {DEV: SCORE, FINAL: other}}})
    assert dev_scores(tmp_path).suites == {"held_out": SCORE}
    assert "0.9" not in repr(dev_scores(tmp_path))
    assert final_scores(tmp_path) == {"held_out": other}


def test_an_evaluation_from_before_parts_has_to_be_repeated(tmp_path):
    folder = tmp_path / "sft"
    folder.mkdir()
    write_json(folder / "results.json", {"suites": {"held_out": SCORE}})
    for read in (dev_scores, final_scores):
        with pytest.raises(BadInput, match="before suites had a dev part and a final part") as old:
            read(folder)
        assert "--redo eval-sft" in old.value.remedy
