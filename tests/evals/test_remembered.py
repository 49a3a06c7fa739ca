"""An engine with a memory: what it is asked again, and what counts as the same request."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builders.engine_double import EngineDouble
from common.errors import RunFailed
from common.files import write_sealed
from common.reply_cache import ReplyCache
from evals.remembered import RememberedEngine, content_of
from rollouts.config import RolloutConfig
from rollouts.interface import Rollout

SAMPLED = {"samples": 2, "temperature": 0.7, "max_tokens": 8}
GREEDY = {"samples": 1, "temperature": 0.0, "max_tokens": 8}


@dataclass
class Counting(EngineDouble):
    """Answers with the prompt's first token, and notes what it was asked."""

    asked: list = field(default_factory=list)

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self.asked += [(prompt[0], seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        counts = zip(prompts, samples, strict=True)
        return [[Rollout([p[0]], [-0.1], f"t{p[0]}", "stop")] * count for p, count in counts]

    def score(self, prompts, completions, *, cached=False):
        assert cached
        self.asked += [(p[0], c[0]) for p, c in zip(prompts, completions, strict=True)]
        return [[-float(c[0])] for c in completions]

    def close(self):
        self.asked.append("closed")


@pytest.fixture
def remembered(monkeypatch):
    """Makes an engine with a memory around a counting one; gives both."""
    monkeypatch.setattr("models.checkpoint.load_tokenizer", lambda folder: None)
    cache = ReplyCache(None)

    def make(weights="w", **config):
        engine = Counting()
        settings = RolloutConfig(**config)
        return RememberedEngine(lambda: engine, Path("folder"), settings, cache, weights), engine

    return make


def test_only_what_is_not_known_is_asked_and_the_order_stays(remembered):
    first, engine = remembered()
    first.generate([[1], [2]], seeds=[0, 0], **GREEDY)
    again, other = remembered()
    groups = again.generate([[2], [3], [1]], seeds=[5, 5, 5], **GREEDY)
    assert [group[0].text for group in groups] == ["t2", "t3", "t1"]
    assert engine.asked == [(1, 0), (2, 0)] and other.asked == [(3, 5)]
    assert groups[0] == [Rollout([2], [-0.1], "t2", "stop")]
    assert (again.known, again.asked) == (2, 1)


def test_what_is_all_known_starts_no_engine(remembered):
    first, _ = remembered()
    first.generate([[1]], seeds=[0], **GREEDY)
    again, engine = remembered()
    again.generate([[1]], seeds=[0], **GREEDY)
    again.close()
    assert engine.asked == []


@pytest.mark.parametrize(
    ("second", "how", "seed"),
    [
        ({"weights": "other"}, SAMPLED, 0),
        ({"dtype": "bfloat16"}, SAMPLED, 0),
        ({"max_model_len": 64}, SAMPLED, 0),
        ({}, {**SAMPLED, "max_tokens": 9}, 0),
        ({}, {**SAMPLED, "samples": 3}, 0),
        ({}, {**SAMPLED, "temperature": 0.8}, 0),
        ({}, SAMPLED, 1),
    ],
)
def test_another_checkpoint_protocol_or_seed_is_another_request(remembered, second, how, seed):
    remembered()[0].generate([[1]], seeds=[0], **SAMPLED)
    again, engine = remembered(**second)
    again.generate([[1]], seeds=[seed], **how)
    assert engine.asked == [(1, seed)]


def test_scores_are_known_by_prompt_and_completion(remembered):
    first, _ = remembered()
    assert first.score([[1], [1]], [[7], [8]], cached=True) == [[-7.0], [-8.0]]
    again, engine = remembered()
    assert again.score([[1], [2]], [[8], [8]], cached=True) == [[-8.0], [-8.0]]
    assert engine.asked == [(2, 8)]


def test_a_checkpoint_is_known_by_its_content_with_and_without_a_record(tmp_path):
    stage = tmp_path / "stage"
    (stage / "checkpoint").mkdir(parents=True)
    (stage / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    with ReplyCache(None) as cache:
        plain = content_of(stage, cache)
        sums = {"checkpoint/model.safetensors": {"sha256": _sum(b"weights")}, "stage.log": {}}
        write_sealed(stage / "record.json", {"files": sums})
        assert content_of(stage, cache) == plain
        (stage / "record.json").unlink()
        (stage / "checkpoint" / "model.safetensors").write_bytes(b"Weights")
        assert content_of(stage, cache) != plain


def _sum(content):

    return hashlib.sha256(content).hexdigest()


def test_a_damaged_entry_is_found(tmp_path):
    path = tmp_path / "replies.sqlite"
    with ReplyCache(path) as cache:
        cache.put({str(number): {"logprobs": [float(number)] * 50} for number in range(40)})
        assert cache.problem() is None
    content = path.read_bytes()
    place = content.index(b"7.0, 7.0")
    path.write_bytes(content[:place] + b"8" + content[place + 1 :])
    with ReplyCache(path) as cache:
        assert cache.problem() == "the entry 7 is damaged"
    path.write_bytes(b"nonsense" * 900)
    with pytest.raises(RunFailed, match="cannot be used"):
        ReplyCache(path)
