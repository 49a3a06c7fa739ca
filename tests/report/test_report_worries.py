"""The rules about what to worry about: each says something where it should, and else nothing."""

import copy

import pytest

from builders.report_sources import small_run
from report.document import gather
from report.sections.worries import RULES, worries


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A run about which hardly any rule says anything."""
    run = gather([small_run(tmp_path_factory.mktemp("run"))])["runs"][0]
    for one in run["evaluations"]:
        for suite in one["suites"]:
            suite["n"] = 500
    return run


def signal(**own):
    def change(run):
        run["signals"][-2] |= own

    return change


def suite(**own):
    def change(run):
        run["evaluations"][-1]["suites"][0] |= own

    return change


def answers(**own):
    def change(run):
        run["evaluations"][-1]["answers"][0] |= own

    return change


def health(**own):
    def change(run):
        run["health"][0] |= own

    return change


def judged(**own):
    def change(run):
        run["judging"] = [{"stage": "judged", "audits": [], "agreements": [], **own}]

    return change


def ran(state):
    def change(run):
        run["ran"]["rows"][0]["state"] = state

    return change


def commits(*names):
    def change(run):
        run["provenance"]["environments"] = [{"commit": name} for name in names]

    return change


def ends(verdict):
    def change(run):
        run["first_and_last"]["suites"][0]["after"]["verdict"] = verdict

    return change


def gate(passed, then="parent"):
    def change(run):
        message = "gate: the dev part of held_out went from 0.6 to 0.3"
        run["gates"] = [{"stage": "rl", "passed": passed, "then": then, "message": message}]

    return change


WEAK = {"worth_asking": False, "sentence": "no better than chance"}
CASES = [
    ("unfinished", ran("failed"), "failed"),
    ("unfinished", ran("stale"), "is stale"),
    ("unfinished", ran("todo"), "Not finished: base"),
    ("not_evaluated", lambda run: run.update(evaluations=[]), "not known"),
    ("ends_worse", ends("worse"), "learned is worse than base"),
    ("ends_worse", suite(verdict="worse", change=-0.2), "made held_out worse: -20.0 points"),
    ("refused", gate(False), "A gate refused rl: the dev part of held_out went"),
    ("refused", gate(False), "later stages went on from its parent"),
    ("refused", gate(True), "A gate doubted rl"),
    ("no_clear_change", ends(None), "cannot be told apart"),
    ("small_suites", suite(n=40), "only 40 prompts"),
    ("no_score", suite(value=None), "no score on held_out"),
    ("cut_off_answers", answers(cut_off=9), "learned 69.2 %"),
    ("faulty_answers", answers(faults=2), "2 could not be graded"),
    ("no_dev_part", suite(dev={"n": 0}), "only the final part"),
    ("reward_without_dev", signal(dev=[0.6, 0.3]), "while the dev score falls"),
    ("out_of_reach", signal(out_of_reach={"judge": 0.8}), "80.0 % of the pool"),
    ("out_of_reach", signal(pool_warnings=["WARNING: few."]), "learned: few."),
    ("few_mixed_groups", signal(mixed=[0.5, 0.1, 0.1]), "10.0 % of the groups"),
    ("cut_off_rollouts", signal(cut_off=[0, 0, 0.4]), "40.0 % of the rollouts"),
    ("entropy_gone", signal(entropy=[1.0, 0.5, 0.01]), "explores hardly"),
    ("parity_near_its_limit", health(largest_gap=8e-5), "80.0 % of the tolerance"),
    ("idle_experts", health(dead_experts=2), "2 experts got no tokens"),
    ("idle_experts", health(largest_load=0.95), "95.0 % of a layer"),
    ("weak_judge", judged(audits=[WEAK]), "no better than chance"),
    ("weak_judge", judged(agreements=[{"conclusion": "unknown", "sentence": "unsure"}]), "unsure"),
    ("weak_judge", signal(faulty_replies=0.3), "30.0 % of the replies"),
    ("doubtful_prompts", signal(bad_rows=3), "3 rows could not be used"),
    ("doubtful_prompts", signal(contradictions=2), "contradict"),
    ("uncommitted", commits("a" * 40 + "+dirty"), "uncommitted changes"),
    ("uncommitted", commits("a" * 40, "b" * 40), "2 versions"),
    ("uncommitted", commits(None), "not known"),
]


def said_by(rule, run):
    return [one["text"] for one in worries(run) if one["rule"] == rule]


def test_nothing_is_said_of_a_quiet_run(quiet):
    assert worries(quiet) == []


@pytest.mark.parametrize(("rule", "change", "words"), CASES)
def test_a_rule_speaks_where_it_should(quiet, rule, change, words):
    run = copy.deepcopy(quiet)
    change(run)
    assert words in " ".join(said_by(rule, run))


def test_every_rule_is_tested():
    assert {rule.__name__ for rule in RULES} == {rule for rule, _, _ in CASES}


def test_a_falling_dev_score_is_no_worry_while_the_reward_falls_too(quiet):
    run = copy.deepcopy(quiet)
    signal(dev=[0.6, 0.3], reward=[0.9, 0.5, 0.4])(run)
    assert said_by("reward_without_dev", run) == []


def test_worries_come_before_notes(quiet):
    run = copy.deepcopy(quiet)
    commits(None)(run)
    ran("failed")(run)
    assert [one["level"] for one in worries(run)] == ["worry", "note"]
