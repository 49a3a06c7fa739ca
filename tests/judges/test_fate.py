"""Stopping early: the cut is the one that all attempts would give, whatever they are."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scripted_judge import JUDGE, prompt
from common.errors import BadInput, RunFailed
from judges.attempts import Attempts
from judges.config import AttemptsJudge
from judges.fate import _drop_bounds, _Outlook, undecided
from judges.filtering import FilterSettings, drop_counts, drop_easiest, tied_at_threshold
from judges.rounds import rounds_of
from judges.verdict import Reply
from stages.judge_filter.judged_prompts import judged_prompts

REPLIES = {
    "right": Reply("7", "stop", 1, "7", 1.0, None),
    "8": Reply("8", "stop", 1, "8", 0.0, None),
    "9": Reply("9", "stop", 1, "9", 0.0, None),
    "fault": Reply("", "length", 1, None, None, "cut_off"),
}
one_prompt = st.tuples(
    st.sampled_from("ab"),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["8", "8", "9", "fault"])), min_size=9),
)


class Case:
    """A pool whose replies to every attempt are given, and a cut."""

    def __init__(self, drawn, attempts, agreement, cut):
        self.prompts = [prompt(f"p{n}", capability=name) for n, (name, _, _) in enumerate(drawn)]
        self.replies = {
            f"p{n}": [REPLIES["right" if luck < rate else other] for luck, other in rolls]
            for n, (_, rate, rolls) in enumerate(drawn)
        }
        self.attempts, self.agreement, self.cut = attempts, agreement, cut
        config = AttemptsJudge.model_validate(JUDGE.model_dump() | {"attempts": attempts})
        unused: Any = None
        self.judge = Attempts(config, unused, unused)

    def verdicts(self, made):
        return [
            self.judge.verdict(one, self.replies[one.id][: made[one.id]], self.attempts - n)
            for one in self.prompts
            for n in [made[one.id]]
        ]

    def made(self):
        """Attempts that every prompt gets when decided prompts get no more."""
        made, still_open = dict.fromkeys(self.replies, 0), set(self.replies)
        for part in rounds_of(self.attempts):
            made |= dict.fromkeys(still_open, part.stop)
            verdicts = self.verdicts(made)
            still_open &= undecided(self.prompts, verdicts, self.attempts, self.agreement, self.cut)
        return made

    def outcome(self, made):
        """The decision on every prompt and the likelihoods asked for; or why there is none.

        Without stratification a prompt that its capability cannot spare may have one that changes
        nothing."""
        verdicts = [self.verdicts(made)]
        try:
            judged = judged_prompts(self.prompts, verdicts, self.agreement, {})
            ties = {id: (-float(id[1:]) % 5, None) for id in tied_at_threshold(judged, self.cut)}
            judged = judged_prompts(self.prompts, verdicts, self.agreement, ties)
            decisions = drop_easiest(judged, self.cut)
        except (BadInput, RunFailed) as error:
            return type(error)
        asked = ties if self.cut.stratified else {}
        return {id: one.decision for id, one in decisions.items()}, asked


cuts = st.builds(
    FilterSettings,
    st.integers(1, 99).map(lambda n: n / 100),
    st.booleans(),
    st.integers(1, 3),
    st.just(3),
)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(one_prompt, min_size=2, max_size=24),
    st.integers(1, 9),
    st.sampled_from([0.6, 1.0]),
    cuts,
)
def test_the_cut_is_that_of_all_attempts(drawn, attempts, agreement, cut):
    case = Case(drawn, attempts, agreement, cut)
    whole = dict.fromkeys(case.replies, attempts)
    assert case.outcome(case.made()) == case.outcome(whole)


ranges = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 9), st.integers(0, 3)))


def bounds_and_drops(ranges, sizes, cut):
    """The bounds of each pool, and what the pools lose; None where there is no such thing."""
    outlooks = [
        _Outlook("p", name, 0.1, 0.9, n < certain, False)
        for name, (certain, more) in ranges.items()
        for n in range(certain + more)
    ]
    try:
        drops = drop_counts({name: size for name, size in sizes.items() if size}, cut)
    except BadInput:  # the cut itself refuses such a pool
        return None, {}
    bounds = _drop_bounds(outlooks, cut)
    return bounds, drops if cut.stratified else {"all": sum(drops.values())}


@settings(max_examples=600, deadline=None)
@given(ranges, cuts, st.data())
def test_the_bounds_hold_for_any_number_of_prompts_that_are_set_aside(ranges, cut, data):
    sizes = {
        name: certain + data.draw(st.integers(0, more)) for name, (certain, more) in ranges.items()
    }
    bounds, drops = bounds_and_drops(ranges, sizes, cut)
    for name, drop in drops.items() if bounds is not None else ():
        assert bounds[name][0] <= drop <= bounds[name][1]


def test_where_a_capability_can_spare_less_than_its_part_there_are_no_bounds():
    ranges, cut = {"a": (20, 1), "b": (4, 0)}, FilterSettings(0.5, True, 4, 3)
    assert bounds_and_drops(ranges, {"a": 20, "b": 4}, cut) == (None, {"a": 12, "b": 0})
    spared = FilterSettings(0.5, True, 1, 3)
    assert bounds_and_drops(ranges, {"a": 20, "b": 4}, spared)[0] == {"a": (9, 11), "b": (1, 3)}


def pool(*rights, attempts=4, share=0.5, stratified=True):
    """A case in which prompt n passes its first rights[n] attempts, and no other."""
    drawn = [
        ("a", 0.5, [(0.0, "")] * n + [(1.0, "89"[k % 2]) for k in range(9 - n)]) for n in rights
    ]
    return Case(drawn, attempts, 1.0, FilterSettings(share, stratified, 1, 3))


def test_prompts_far_from_the_cut_get_no_more_attempts_and_those_beside_it_do():
    assert list(pool(3, 3, 3, 0, 0, 0).made().values()) == [3] * 6
    assert list(pool(3, 3, 2, 1, 0, 0).made().values()) == [3, 3, 4, 4, 3, 3]
    assert list(pool(3, 3, 2, 1, 0, 0, stratified=False).made().values()) == [3, 3, 4, 4, 3, 3]
    assert list(pool(3, 3, 3, 3).made().values()) == [4] * 4  # tied to the end


def test_of_two_equal_prompts_of_which_one_is_spared_both_get_all_attempts():
    case = pool(3, 3, 0, 0, 0, 0, stratified=False)
    case.prompts[:2] = [prompt("p0", capability="b"), prompt("p1", capability="b")]
    made = case.made()
    assert made["p0"] == made["p1"] == 4
    assert sorted(case.outcome(made)[0][id] for id in ("p0", "p1")) == ["dropped", "kept"]


def test_a_prompt_that_may_be_broken_gets_all_attempts():
    case = pool(3, 3, 3, 0, 0, 0)
    case.replies["p5"] = [REPLIES["8"]] * 4
    assert case.made()["p5"] == 4 and case.made()["p4"] == 3
    assert case.outcome(case.made())[0]["p5"] == "broken"


def test_rounds_divide_the_attempts_and_the_first_is_more_than_half():
    for attempts in range(1, 70):
        rounds = rounds_of(attempts)
        assert [n for part in rounds for n in part] == list(range(attempts))
        assert 2 * len(rounds[0]) > attempts and len(rounds) <= 9
