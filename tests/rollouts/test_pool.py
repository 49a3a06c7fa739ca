"""The pool of servers, with servers that are scripts: who is asked what, and what happens when one
ends, is silent, or answers from other weights."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from builders.contexts import stage_context
from common.devices import DevicesConfig, InProcess, ServerPlace, Servers
from common.errors import BadInput, RunFailed
from common.execution import ExecutionConfig
from common.starter import Starter
from models.checkpoint import save_policy
from models.nano import nano_model, nano_tokenizer
from rollouts.config import RolloutConfig
from rollouts.interface import RolloutEngine, SeveralCopies
from rollouts.served import PUBLISH, together
from rollouts.served.client import ServerGone
from rollouts.served.pool import RESTARTS, ServedEngine
from rollouts.served.process import OwnServer, start_all
from rollouts.start import start_engine

PLACE = ServerPlace(1, (0,))


class ScriptedServer:
    """Answers a prompt with its own first token, from the weights that it was given. `failures`
    come first."""

    def __init__(self, number, failures=()):
        self.name, self.client, self.url = f"server {number}", self, f"http://server-{number}"
        self.failures, self.asked, self.recovered = list(failures), [], 0
        self.weights = {"version": "default", "checksum": ""}

    def ask(self, path, question):
        if self.failures:
            raise self.failures.pop(0)
        if path == PUBLISH:
            self.weights = {name: question[name] for name in ("version", "checksum")}
            return self.weights
        self.asked.append(question)
        answers = [[[[prompt[0]], [-0.5], "text", "stop"]] for prompt in question["prompts"]]
        return {"answers": answers, **self.weights}

    def silent_for(self):
        return 0.0

    def recover(self):
        self.recovered += 1
        self.weights = {"version": "default", "checksum": ""}

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool") / "checkpoint"
    save_policy(nano_model(nano_tokenizer(), seed=1), nano_tokenizer(), folder)
    return folder


@pytest.fixture
def pool(checkpoint):
    def make(*servers, note=print):
        return ServedEngine(servers, checkpoint, RolloutConfig(), None, note)

    return make


def first_tokens(engine, count):
    prompts = [[number + 1, 2] for number in range(count)]
    groups = engine.generate(
        prompts, samples=1, temperature=1.0, max_tokens=4, seeds=range(100, 100 + count)
    )
    return [group[0].token_ids[0] for group in groups]


@pytest.mark.parametrize(("count", "parts"), [(7, [2, 2, 3]), (2, [0, 1, 1]), (1, [0, 0, 1])])
def test_prompts_are_divided_in_order_and_evenly(pool, count, parts):
    servers = [ScriptedServer(number) for number in range(3)]
    assert first_tokens(pool(*servers), count) == list(range(1, count + 1))
    assert [sum(len(q["prompts"]) for q in server.asked) for server in servers] == parts
    seeds = [seed for server in servers for q in server.asked for seed in q["seeds"]]
    assert seeds == list(range(100, 100 + count))


@pytest.mark.parametrize(
    ("samples", "parts"),
    [
        ([2, 2, 2, 2, 8, 8], [[2, 2, 2, 2], [8], [8]]),
        ([6, 6, 6, 2, 2, 2], [[6], [6], [6, 2, 2, 2]]),
        ([3, 3, 3, 3, 3, 3, 3], [[3, 3], [3, 3], [3, 3, 3]]),
        ([9, 1], [[], [], [9, 1]]),
    ],
)
def test_prompts_with_numbers_of_their_own_are_divided_by_the_sequences(pool, samples, parts):
    servers = [ScriptedServer(number) for number in range(3)]
    count = len(samples)
    prompts = [[number + 1, 2] for number in range(count)]
    groups = pool(*servers).generate(
        prompts, samples=samples, temperature=1.0, max_tokens=4, seeds=range(count)
    )
    assert [group[0].token_ids[0] for group in groups] == list(range(1, count + 1))
    asked = [[n for q in server.asked for n in q["samples"]] for server in servers]
    assert asked == parts
    seeds = [seed for server in servers for q in server.asked for seed in q["seeds"]]
    assert seeds == list(range(count))


def test_a_number_for_each_prompt_or_one_for_all(pool):
    engine = pool(server := ScriptedServer(0))
    settings = {"temperature": 1.0, "max_tokens": 4, "seeds": [0, 1]}
    engine.generate([[1], [2]], samples=3, **settings)
    assert server.asked[0]["samples"] == [3, 3]
    with pytest.raises(ValueError, match="1 numbers of samples for 2 prompts"):
        engine.generate([[1], [2]], samples=[3], **settings)


def test_a_server_that_ends_gets_the_weights_again_and_the_same_question(pool):
    notes, server = list[str](), ScriptedServer(0)
    engine = pool(server, ScriptedServer(1), note=notes.append)
    engine.publish([("w", torch.ones(2))], 5)
    server.failures = [ServerGone("reset"), ServerGone("reset again")]
    assert first_tokens(engine, 4) == [1, 2, 3, 4]
    assert server.recovered == 2 and server.weights["version"] == "5"
    assert notes == [
        "server 0 is gone (reset) and is brought back",
        "server 0 is gone (reset again) and is brought back",
    ]


def test_a_server_that_ends_again_and_again_ends_the_run_with_its_cause(pool):
    server = ScriptedServer(0, [ServerGone(f"cause {n}") for n in range(RESTARTS + 1)])
    with pytest.raises(RunFailed, match=r"server 0 ended 4 times in a row .* cause 3"):
        first_tokens(pool(server), 1)


@pytest.mark.parametrize("other", [{"version": "4"}, {"checksum": "0" * 64}])
def test_answers_from_other_weights_end_the_run(pool, other):
    server = ScriptedServer(0)
    engine = pool(server)
    engine.publish([("w", torch.ones(2))], 5)
    server.weights = server.weights | other
    with pytest.raises(RunFailed, match=r"server 0 .* answers with weights of version"):
        first_tokens(engine, 1)


def test_a_server_that_was_started_anew_without_the_weights_ends_the_run(pool):
    engine, server = None, ScriptedServer(0)
    engine = pool(server)
    engine.publish([("w", torch.ones(2))], 5)
    server.recover()
    with pytest.raises(RunFailed, match="version 'default'"):
        first_tokens(engine, 1)


def test_a_prompt_without_room_is_refused_before_a_server_is_asked(pool):
    server = ScriptedServer(0)
    engine = pool(server)
    for ask in (
        lambda: engine.generate([[1] * 510], samples=1, temperature=1, max_tokens=3, seeds=[0]),
        lambda: engine.score([[1] * 500], [[1] * 12]),
        lambda: engine.next_token([[1] * 512], [1]),
    ):
        with pytest.raises(BadInput, match="do not fit max_model_len 512"):
            ask()
    assert server.asked == []


def test_the_pool_is_an_engine_of_several_copies(pool):
    assert isinstance(pool(), SeveralCopies)
    assert not issubclass(RolloutEngine, SeveralCopies)


def test_silence_is_told_and_told_again_and_its_end_too(monkeypatch):
    monkeypatch.setattr(together, "LOOK", 0.01)
    silences, notes = iter([1, 16, 17, 31, 2]), list[str]()
    done = threading.Event()

    def silent_for(name):
        silence = next(silences, None)
        if silence is None:
            done.set()
            return 0.0
        return silence

    assert together.together({"server 0": done.wait}, silent_for, notes.append) == [True]
    waits = "; the stage waits for it"
    assert notes == [
        f"server 0 has not answered for 16 s{waits}",
        f"server 0 has not answered for 31 s{waits}",
        "server 0 answers again",
    ]


def test_the_first_error_is_raised_though_others_still_work():
    forever = threading.Event()

    def fail():
        raise RunFailed("no")

    with pytest.raises(RunFailed, match="no"):
        together.together({"a": forever.wait, "b": fail}, lambda name: 0.0, print)
    forever.set()


def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path):
    servers = [
        OwnServer(f"server {n}", words, "0" * 16, PLACE, tmp_path / f"{n}.log", Starter(), 1.0)
        for n, words in enumerate([["folder"], ["folder", "--nonsense"]])
    ]
    servers.reverse()
    with pytest.raises(RunFailed, match=r"(?s)server 1: it ended .* arguments: --nonsense"):
        start_all(servers, print)
    assert servers[1].child is not None and servers[1].child.poll() is not None
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_a_server_that_is_killed_while_it_starts_is_started_again(tmp_path, monkeypatch):
    class Killed(OwnServer):
        def start(self):
            super().start()
            assert self.child is not None
            self.child.kill()

    notes = list[str]()
    server = Killed("server 0", ["folder"], "0" * 16, PLACE, tmp_path / "log", Starter(), 1.0)
    with pytest.raises(RunFailed, match=r"server 0 was started 3 times: .* with code -9"):
        start_all([server], notes.append)
    assert len(notes) == 2 and "started again" in notes[0]


def test_the_secret_is_in_no_argument_and_a_missing_one_is_refused(tmp_path, monkeypatch):
    server = OwnServer("server 0", ["folder"], "0" * 15, PLACE, tmp_path / "log", Starter(), 1.0)
    server.start()
    assert server.child is not None
    assert server.secret not in Path(f"/proc/{server.child.pid}/cmdline").read_text()
    with pytest.raises(RunFailed, match="shorter than 16 characters"):
        server.wait()
    server.close()


def test_layouts_that_this_machine_cannot_have(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engine = Servers(kind="server", tensor_parallel=2)
    context = stage_context(
        tmp_path, execution=ExecutionConfig(devices=DevicesConfig(engine=engine))
    )
    with pytest.raises(BadInput, match="tensor_parallel is 2, and this machine has no GPU"):
        start_engine(checkpoint, RolloutConfig(), 0, context)


def test_the_engine_in_process_is_the_default(checkpoint, tmp_path, monkeypatch):
    class Fake:
        Engine = staticmethod(lambda *arguments: arguments)

    monkeypatch.setitem(sys.modules, "rollouts.engine", Fake)
    context = stage_context(tmp_path)
    assert isinstance(context.execution.devices.engine, InProcess)
    started: Any = start_engine(checkpoint, RolloutConfig(), 7, context)
    assert started == (checkpoint, RolloutConfig(), 7, context.execution)
