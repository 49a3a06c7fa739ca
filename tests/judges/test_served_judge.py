"""A judge behind a real vLLM server on this machine, which is killed and restarted midway."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from builders.given_grades import GivenGrades
from builders.scripted_judge import judge_session, prompt
from judges.ask import judge_prompts, likelihoods
from judges.attempts import Attempts
from judges.backend import BackendMonitor, SamplingRequest
from judges.config import AttemptsJudge, RubricJudge
from judges.endpoint import EndpointBackend
from judges.rubric import Rubric
from models.nano import nano_tokenizer
from rewards.grader import Grade

STARTS_WITHIN_S = 240
PROMPTS = [prompt(f"p{n}") for n in range(12)]


def grade(prompt, text):
    """A model with random weights passes about half of the time."""
    return Grade(float(len(text) % 2), None, text or "nothing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Llama with random weights, a character tokenizer, and tokens that mark reasoning."""
    folder, tokenizer = tmp_path_factory.mktemp("served") / "judge", nano_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    special = {
        name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id", "bos_token_id")
    }
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=2048, **sizes, **special)
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(folder, port):
    """A server in its own process group, not yet ready."""
    options = [
        "--enforce-eager",
        "--dtype",
        "float32",
        "--max-model-len",
        "2048",
        "--host",
        "127.0.0.1",
    ]
    # At most five likely tokens. If a request asks for thinking, the text before </think> is not
    # content.
    options += ["--max-logprobs", "5", "--reasoning-parser", "deepseek_v3"]
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(folder),
        *options,
    ]
    return subprocess.Popen(
        [*command, "--port", str(port), "--served-model-name", "judge"],
        env={
            **os.environ,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "TORCHDYNAMO_DISABLE": "1",
        },
        stdout=(folder.parent / "server.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ended(server):
    with suppress(ProcessLookupError):
        os.killpg(server.pid, 9)
    server.wait()


@contextmanager
def serving(folder, port):
    server = started(folder, port)
    try:
        until = time.monotonic() + STARTS_WITHIN_S
        while not answers(port):
            alive = server.poll() is None and time.monotonic() < until
            assert alive, (folder.parent / "server.log").read_text()[-2000:]
            time.sleep(0.5)
        yield server
    finally:
        ended(server)


def answers(port):
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    return False


def judge_at(port, kind=AttemptsJudge, **settings):
    name = "attempts" if kind is AttemptsJudge else "rubric"
    where = {
        "url": f"http://127.0.0.1:{port}/v1",
        "model_name": "judge",
        "patience_s": STARTS_WITHIN_S,
    }
    return kind(kind=name, concurrency=4, **where, **settings)


UNUSUAL: dict[str, dict[str, Any]] = {
    "renamed": {
        "length_parameter": "max_completion_tokens",
        "leave_out": ["seed", "temperature", "n"],
    },
    "thinking": {"extra": {"chat_template_kwargs": {"thinking": True}}},
    "refused": {"extra": {"min_p": 7}},
    "too_long": {"content": "x" * 2100},
}


def unusual(port, content="say 7", **settings):
    """Two completions of one prompt, and the notes about them."""
    notes: list[str] = []
    backend = EndpointBackend(judge_at(port, **settings), BackendMonitor(note=notes.append))
    request = SamplingRequest([{"role": "user", "content": content}], 2, 0.7, 16, 1)
    return backend.sample([request])[0], notes


@pytest.fixture(scope="module")
def outcome(folder, port, tmp_path_factory):
    """Verdicts of an uninterrupted run and of one whose server died after a few prompts, and other
    replies."""
    work = tmp_path_factory.mktemp("work")
    config = judge_at(port, attempts=3, max_tokens=200, retries=0)
    results: dict[str, Any] = {}
    notes: list[str] = []

    def judged(name, **more):
        judge = Attempts(config, EndpointBackend(config), GivenGrades(grade))
        results[name] = judge_prompts(PROMPTS, judge, judge_session(work / name, **more)).verdicts

    with serving(folder, port) as server:
        judged("whole", chunk=100)
        rating = judge_at(port, RubricJudge, max_tokens=8)
        backend = EndpointBackend(rating, BackendMonitor(note=notes.append))
        results["rubric"] = Rubric(rating, backend).ask([(one,) for one in PROMPTS[:3]])
        results["unusual"] = {name: unusual(port, **config) for name, config in UNUSUAL.items()}
        results["likelihoods"] = likelihoods(
            PROMPTS[:3], backend, rating.origin(), judge_session(work / "likelihoods")
        )
        kill = threading.Event()
        settings = {"chunk": 4, "progress": lambda *_, **__: kill.set()}
        thread = threading.Thread(target=judged, args=("killed",), kwargs=settings)
        thread.start()
        assert kill.wait(120)
        ended(server)
    with serving(folder, port):
        thread.join(STARTS_WITHIN_S)
    return results | {"notes": notes}


def test_a_real_server_gives_attempts_ratings_and_likelihoods(outcome):
    assert sum(verdict.graded for verdict in outcome["whole"]) > len(PROMPTS)
    faults = {reply["fault"] for answer in outcome["rubric"] for reply in answer["replies"]}
    assert faults <= {None, "unreadable", "cut_off"}
    assert all(value < 0 and note is None for value, note in outcome["likelihoods"].values())


def test_a_real_server_gets_fewer_likely_tokens_with_a_note(outcome):
    (note,) = outcome["notes"]
    assert "top_logprobs is 5, not 20" in note


def test_a_real_server_gets_other_parameters_and_reasoning_is_no_answer(outcome):
    (renamed, notes), (thinking, _) = outcome["unusual"]["renamed"], outcome["unusual"]["thinking"]
    assert (
        [one.fault for one in renamed] == [None, None]
        and renamed[0].how == "its own temperature"
        and not notes
    )
    assert [(one.text, one.finish, one.fault) for one in thinking] == [("", "length", None)] * 2
    assert thinking[0].tokens > 0


def test_a_real_servers_refusals_are_quoted(outcome):
    (refused, notes), (long, _) = outcome["unusual"]["refused"], outcome["unusual"]["too_long"]
    assert refused[0].fault == "endpoint_refuses" and "min_p" in refused[0].text and not notes
    assert long[0].fault == "too_long" and "maximum context length" in long[0].text


def test_a_server_killed_midway_loses_no_verdict(outcome):
    assert [verdict.id for verdict in outcome["killed"]] == [one.id for one in PROMPTS]
    faults = {reply.fault for verdict in outcome["killed"] for reply in verdict.replies}
    assert faults <= {None, "cut_off"}
    same = [a == b for a, b in zip(outcome["whole"], outcome["killed"], strict=True)]
    # A request sampled beside others may differ in its last bit.
    assert all(same[:4]) and sum(same) > 9
