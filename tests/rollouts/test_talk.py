"""The process that replies: its protocol, with a scripted engine at the other end of the socket."""

import socket
import subprocess
import sys
import threading

import pytest

from common.errors import BadInput, RunFailed
from rollouts.config import RolloutConfig
from rollouts.interface import Rollout
from rollouts.talk import worker
from rollouts.talk.channel import Channel
from rollouts.talk.client import NoRoom, Reply, Talker


class Engine:
    """Counts as far as it may; a token a character of the messages."""

    max_model_len = 40
    closed = 0

    def encode(self, messages):
        if messages[0]["role"] == "system":
            raise ValueError("no system role here")
        return [1] * sum(len(message["content"]) for message in messages)

    def stream(self, prompt, *, temperature, max_tokens, seed):
        try:
            for length in range(1, max_tokens):
                yield "é" * length, None
            text = "é" * max_tokens
            yield text, Rollout([1] * max_tokens, [], text, "length")
        finally:
            self.closed += 1


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def talker(tmp_path, engine):
    """A client whose worker is a thread here."""
    ours, theirs = socket.socketpair()
    one = Talker.__new__(Talker)
    one.name, one._log, one._channel = "one", tmp_path / "log", Channel(ours)
    thread = threading.Thread(target=worker.serve, args=(engine, Channel(theirs)))
    thread.start()
    assert one.wait() == 40
    yield one
    ours.close()
    thread.join(5)
    assert not thread.is_alive()


def said(text, role="user"):
    return [{"role": role, "content": text}]


def test_a_reply_comes_in_pieces_and_whole(talker):
    talker.ask(said("hello"), 0.0, 4, 1)
    assert list(talker.pieces()) == ["é", "é", "é", "é", Reply("éééé", "length", 4)]


def test_a_reply_has_no_more_tokens_than_there_is_room(talker):
    talker.ask(said("x" * 38), 0.0, 100, 1)
    assert list(talker.pieces())[-1] == Reply("éé", "length", 2)
    talker.ask(said("x" * 40), 0.0, 100, 1)
    with pytest.raises(NoRoom, match="has 40 tokens and leaves no room"):
        list(talker.pieces())


def test_a_stop_ends_the_reply_and_one_too_late_is_nothing(talker, engine):
    stream, go = engine.stream, threading.Event()

    def slow(*args, **kwargs):
        for number, one in enumerate(stream(*args, **kwargs)):
            if number == 2:
                assert go.wait(5)
            yield one

    engine.stream = slow
    talker.ask(said("hi"), 0.0, 30, 1)
    talker.stop()
    go.set()
    pieces = list(talker.pieces())
    assert pieces[-1].end == "stopped" and len(pieces[-1].text) < 30
    talker.stop()
    talker.ask(said("hi"), 0.0, 1, 1)
    assert list(talker.pieces())[-1] == Reply("é", "length", 1)


def test_a_template_that_raises_ends_one_turn_only(talker):
    talker.ask(said("x", "system"), 0.0, 3, 1)
    with pytest.raises(BadInput, match="ValueError: no system role here"):
        list(talker.pieces())
    talker.ask(said("x"), 0.0, 1, 1)
    assert list(talker.pieces())[-1].text == "é"


def test_a_worker_that_ends_is_told_with_its_log(tmp_path):
    with (
        Talker("one", tmp_path / "none", RolloutConfig(), tmp_path / "log", 0.9) as one,
        pytest.raises((RunFailed, BadInput), match="one: "),
    ):
        one._child.kill()
        one.wait()
    assert one._child.poll() is not None


def test_the_client_loads_no_engine():
    code = "import sys, rollouts.talk.client; assert not {'torch', 'vllm'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
