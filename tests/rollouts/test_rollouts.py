"""vLLM beside a trainer: rollouts come from the weights that train, and the parity check notices
when they do not.

One engine for the whole module: a second one in the same process is not known to work.
"""

import os

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from common.errors import BadInput, RunFailed
from models.adapters import adapted, policy_weights
from models.checkpoint import load_policy, save_policy
from models.config import LoraConfig
from models.nano import nano_model, nano_tokenizer
from models.packed import pack
from rollouts import parity, sync
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
from rollouts.interface import UNPUBLISHED

TOKENIZER = nano_tokenizer()
TOLERANCE = 1e-4
ROOM = 96


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A nano of random weights, sharp enough that its samples differ from noise."""
    folder = tmp_path_factory.mktemp("rollouts") / "checkpoint"
    save_policy(nano_model(TOKENIZER, seed=11), TOKENIZER, folder)
    return folder


@pytest.fixture(scope="module")
def shared_engine(checkpoint):
    before = dict(os.environ)
    engine = Engine(checkpoint, RolloutConfig(max_model_len=ROOM), seed=0)
    # Processes that later tests start must not inherit what vLLM needs in this one, above all its
    # port.
    os.environ.clear()
    os.environ.update(before)
    assert engine.version == UNPUBLISHED
    yield engine
    engine.close()


@pytest.fixture
def engine(shared_engine, checkpoint, monkeypatch):
    """The engine; afterwards it holds the checkpoint's own weights again."""
    yield shared_engine
    monkeypatch.undo()
    shared_engine.publish(policy_weights(load_policy(checkpoint)), UNPUBLISHED)


@pytest.fixture
def policy(checkpoint):
    return load_policy(checkpoint)


def prompts_of(engine, count=8):
    return [engine.encode([{"role": "user", "content": f"{i} + {i * 37} ="}]) for i in range(count)]


def sample(engine, prompts, seeds, **settings):
    settings = {"samples": 3, "temperature": 1.0, "max_tokens": 12, **settings}
    return engine.generate(prompts, seeds=seeds, **settings)


def ids(groups):
    return [[rollout.token_ids for rollout in group] for group in groups]


def test_a_tokens_probability_is_the_same_asked_for_or_scored(engine):
    prompts, tokens = prompts_of(engine), [10, 40, 63]
    scored = [
        [row[0] for row in engine.score(prompts, [[token]] * len(prompts))] for token in tokens
    ]
    for prompt, logprobs in enumerate(engine.next_token(prompts, tokens)):
        assert logprobs == pytest.approx([column[prompt] for column in scored], abs=1e-5)


def perturb(policy, scale=0.02):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn_like(parameter)


def fixed_gap(engine, policy):
    """The parity check on fixed sequences, so that it does not depend on what the engine
    samples."""
    prompts = prompts_of(engine, 4)
    completions = [engine.encode_text(f"{i} is it, or {i + 1}?") for i in range(4)]
    return parity.check(engine, policy, prompts, completions)


def refused(gap):
    """That the parity check stops the run on this gap, and that it says both numbers."""
    with pytest.raises(RunFailed) as caught:
        parity.require(gap, TOLERANCE, "now")
    message = caught.value.message
    return f"{gap.mean:.3g}" in message and f"{gap.engine:.6f}" in message


def test_engine_and_trainer_agree_on_what_was_published(engine, policy):
    assert fixed_gap(engine, policy).mean < 1e-5
    for version in (3, 4):
        perturb(policy)
        engine.publish(policy_weights(policy), version)
        gap = fixed_gap(engine, policy)
        parity.require(gap, TOLERANCE, "after publishing")
        assert gap.mean < 1e-5 and gap.tokens > 30
        assert engine.version == version


def test_weights_that_did_not_arrive_leave_the_version(engine, policy, monkeypatch):
    def fail(llm, weights):
        raise RuntimeError("a sequence was still running")

    monkeypatch.setattr(sync, "load_weights", fail)
    with pytest.raises(RuntimeError):
        engine.publish(policy_weights(policy), 9)
    assert engine.version == UNPUBLISHED


def test_adapters_reach_the_engine_merged(engine, policy):
    with_adapters = adapted(policy, LoraConfig(rank=4, alpha=8))
    perturb(with_adapters)
    assert fixed_gap(engine, with_adapters).mean > TOLERANCE
    engine.publish(policy_weights(with_adapters), 1)
    assert fixed_gap(engine, with_adapters).mean < 1e-5


def test_a_policy_that_was_not_sent_stops_the_run(engine, policy):
    perturb(policy)
    assert refused(fixed_gap(engine, policy))


def test_experts_in_the_old_layout_stop_the_run(engine, policy, monkeypatch):
    monkeypatch.setattr(sync, "forget_prepared_experts", lambda model: None)
    perturb(policy)
    engine.publish(policy_weights(policy), 1)
    assert refused(fixed_gap(engine, policy))


def test_an_old_output_head_stops_the_run(engine, policy, monkeypatch):
    monkeypatch.setattr(
        sync, "with_tied_head", lambda weights: ((n, t) for n, t in weights if n != sync.HEAD)
    )
    perturb(policy)
    engine.publish(policy_weights(policy), 1)
    assert refused(fixed_gap(engine, policy))


def test_weights_that_the_engine_cannot_hold_stop_the_run(engine, policy):
    perturb(policy)
    rounded = ((name, tensor.to(torch.bfloat16).float()) for name, tensor in policy_weights(policy))
    engine.publish(rounded, 1)
    assert refused(fixed_gap(engine, policy))


def test_a_gap_that_is_not_a_number_stops_the_run():
    gap = parity.gap(torch.tensor([float("nan")]), torch.tensor([-1.0]))
    with pytest.raises(RunFailed, match="parity check failed now"):
        parity.require(gap, TOLERANCE, "now")


def test_the_head_is_sent_where_it_is_tied_and_only_then():
    embedding, head = torch.zeros(3, 2), torch.ones(3, 2)
    tied = dict(sync.with_tied_head([(sync.EMBEDDING, embedding)]))
    assert torch.equal(tied[sync.HEAD], embedding)
    own = list(sync.with_tied_head([(sync.EMBEDDING, embedding), (sync.HEAD, head)]))
    assert [name for name, _ in own] == [sync.EMBEDDING, sync.HEAD] and torch.equal(own[1][1], head)


def test_rollouts_depend_on_prompt_and_seed_and_not_on_the_batch(engine):
    prompts, seeds = prompts_of(engine), list(range(8))
    first = ids(sample(engine, prompts, seeds))
    assert ids(sample(engine, prompts, seeds)) == first
    turned = ids(sample(engine, prompts[::-1], seeds[::-1]))
    assert turned[::-1] == first
    assert ids(sample(engine, prompts[2:3], [2])) == first[2:3]
    assert ids(sample(engine, prompts, [seed + 100 for seed in seeds])) != first
    assert len({tuple(row) for group in first for row in group}) > 20


def test_a_sample_has_the_requests_seed_plus_its_number(engine):
    prompts, seeds = prompts_of(engine), list(range(0, 80, 10))
    first = ids(sample(engine, prompts, seeds, samples=3))
    last = ids(sample(engine, prompts, [seed + 3 for seed in seeds], samples=1))
    whole = ids(sample(engine, prompts, seeds, samples=4))
    assert [three + one for three, one in zip(first, last, strict=True)] == whole
    groups = ids(sample(engine, prompts, seeds, samples=[1, 4, 3, 2, 2, 4, 1, 1]))
    assert groups == [ones[:n] for ones, n in zip(whole, [1, 4, 3, 2, 2, 4, 1, 1], strict=True)]


def test_rollouts_follow_new_weights_from_a_warm_cache(engine, policy):
    prompts, seeds = prompts_of(engine), list(range(8))
    sample(engine, prompts, seeds)
    perturb(policy, 0.05)
    engine.publish(policy_weights(policy), 1)
    groups = sample(engine, prompts, seeds)
    trainer = parity.trainer_logprobs(policy, prompts, [group[0].token_ids for group in groups])
    sampled = torch.tensor([value for group in groups for value in group[0].logprobs])
    assert parity.gap(sampled, trainer).mean < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_logprobs_are_those_of_the_tempered_policy(engine, policy, temperature):
    prompts = prompts_of(engine)
    rollouts = [group[0] for group in sample(engine, prompts, range(8), temperature=temperature)]
    for prompt, rollout in zip(prompts, rollouts, strict=True):
        with torch.no_grad():
            logits = policy(input_ids=torch.tensor([prompt + rollout.token_ids])).logits[
                0, len(prompt) - 1 : -1
            ]
        logprobs = (
            (logits / temperature)
            .log_softmax(-1)
            .gather(1, torch.tensor(rollout.token_ids)[:, None])[:, 0]
        )
        torch.testing.assert_close(torch.tensor(rollout.logprobs), logprobs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("top_p", "temperature"), [(0.3, 1.0), (0.9, 0.7)])
def test_top_p_draws_from_the_likeliest_and_the_trainer_has_the_same_logprobs(
    engine, policy, top_p, temperature
):
    prompts = prompts_of(engine)
    groups = sample(engine, prompts, range(8), top_p=top_p, temperature=temperature)
    rolled = [
        (prompt, [rollout.token_ids for rollout in group])
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    rollouts = [one for group in groups for one in group]
    said = pad_sequence([torch.tensor(one.logprobs) for one in rollouts], batch_first=True)
    mask = pad_sequence(
        [torch.ones(len(one.token_ids)) for one in rollouts], batch_first=True
    ).bool()
    packed = pack(rolled, TOKENIZER.pad_token_id)
    with torch.no_grad():
        cut, _ = policy(packed=packed, temperature=temperature, top_p=top_p, engine_logprobs=said)
        whole, _ = policy(packed=packed, temperature=temperature)
    gap = parity.gap(said[mask], cut[mask])
    parity.require(gap, TOLERANCE, "on the rollouts")
    assert gap.largest < 1e-4 and gap.tokens > 100
    kept = (whole - cut)[mask].exp()  # the probability of what could be drawn
    assert kept.min() > top_p - 1e-4 and kept.mean() < top_p + 0.15
    assert refused(parity.gap(said[mask], whole[mask]))


def test_the_smallest_top_p_leaves_the_likeliest_token(engine, policy):
    prompts = prompts_of(engine)
    drawn = sample(engine, prompts, range(8), top_p=1e-6)
    greedy = sample(engine, prompts, range(8), temperature=0.0, samples=1)
    assert [[one[0]] * 3 for one in ids(greedy)] == ids(drawn)
    assert all(
        value == pytest.approx(0, abs=1e-6)
        for group in drawn
        for one in group
        for value in one.logprobs
    )


def test_scores_equal_the_logprobs_of_sampling(engine):
    prompts = prompts_of(engine)
    rollouts = [group[0] for group in sample(engine, prompts, range(8))]
    scores = engine.score(prompts, [rollout.token_ids for rollout in rollouts])
    for row, rollout in zip(scores, rollouts, strict=True):
        assert row == pytest.approx(rollout.logprobs, abs=1e-4)


def test_a_rollout_says_how_it_ended(engine):
    end = TOKENIZER.eos_token_id
    rollouts = [
        rollout
        for group in sample(engine, prompts_of(engine), range(8), samples=16)
        for rollout in group
    ]
    assert {rollout.finish for rollout in rollouts} == {"stop", "length"}
    for rollout in rollouts:
        assert (rollout.token_ids[-1] == end) == (rollout.finish == "stop")
        assert len(rollout.token_ids) == 12 or rollout.finish == "stop"
        assert len(rollout.logprobs) == len(rollout.token_ids) and "<|end|>" not in rollout.text


def test_a_prompt_longer_than_the_context_is_bad_input(engine):
    long = engine.encode([{"role": "user", "content": "1" * ROOM}])
    with pytest.raises(
        BadInput, match=f"{len(long)} prompt tokens and 12 new ones do not fit max_model_len {ROOM}"
    ):
        sample(engine, [long], [0])
    with pytest.raises(BadInput, match="do not fit"):
        engine.score([long[: ROOM - 4]], [[8, 9, 10, 11]])
    fits = long[: ROOM - 12]
    assert len(sample(engine, [fits], [0])[0]) == 3
