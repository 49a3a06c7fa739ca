"""The base of the engines that stand in for vLLM in tests."""

from rollouts.interface import UNPUBLISHED, RolloutEngine


class EngineDouble(RolloutEngine):
    """An engine that answers nothing. A test's engine overrides what its code calls, with the
    interface's signatures; any other call fails the test."""

    max_model_len = 512
    version = UNPUBLISHED

    def encode(self, messages):
        raise AssertionError("encode")

    def encode_text(self, text):
        raise AssertionError("encode_text")

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        raise AssertionError("generate")

    def score(self, prompts, completions, *, cached=False):
        raise AssertionError("score")

    def next_token(self, prompts, tokens):
        raise AssertionError("next_token")

    def routing(self, sequences):
        raise AssertionError("routing")

    def publish(self, weights, version):
        raise AssertionError("publish")

    def close(self):
        raise AssertionError("close")
