"""An API key is sent to its endpoint and appears nowhere else."""

import pytest

from builders.scripted_endpoint import (
    endpoint,
)
from builders.scripted_judge import PROMPTS, ask
from common.errors import BadInput, UphillError
from common.reply_cache import ReplyCache
from judges.backend import BackendMonitor, SamplingRequest
from judges.config import AttemptsJudge
from judges.endpoint import EndpointBackend
from judges.refusal import MAX_QUOTED_CHARS


def judge(url):
    return AttemptsJudge(
        kind="attempts", url=url, model_name="judge", patience_s=0, api_key_env="JUDGE_KEY"
    )


def test_a_key_is_in_no_message_even_if_the_endpoint_repeats_it(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-open")
    body = {"error": {"message": "Incorrect API key provided: sesame-open"}}
    with endpoint(lambda request: (401, body)) as (url, _), pytest.raises(BadInput) as caught:
        EndpointBackend(judge(url)).sample([SamplingRequest(PROMPTS[0].messages, 1, 0.5, 8, 1)])
    assert "the key in JUDGE_KEY" in str(caught.value) and "sesame" not in str(caught.value)


KEY = "sesame-open"
LONG = f"{'x' * (MAX_QUOTED_CHARS - 15)} {KEY}"
"""Truncation falls within the key. No half of it may remain."""


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": f"no, {KEY}"}}),
        (400, {"error": {"message": LONG}}),
        (402, {"error": {"message": f"pay, {KEY}"}}),
        (403, {"detail": f"no, {KEY}"}),
        (404, {"error": {"message": f"no model for {KEY}"}}),
        (429, {"error": {"message": f"limit of {KEY}", "code": KEY}}),
        (500, f"<html>{KEY}</html>".encode()),
        (200, f"<html>{KEY}</html>".encode()),
        (200, {"error": {"message": "no", "metadata": {"raw": {"key": KEY}}}}),
        (200, {"choices": [{"finish_reason": "error", "error": {"message": KEY}}]}),
    ],
)
def test_a_key_is_in_no_fault_note_or_message_however_the_endpoint_repeats_it(
    monkeypatch, tmp_path, status, body
):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setattr("judges.client.MAX_RETRIES", 0)
    notes: list[str] = []
    cache, monitor = ReplyCache(tmp_path / "cache.sqlite"), BackendMonitor(note=notes.append)
    with endpoint(lambda request: (status, body)) as (url, _):
        backend = EndpointBackend(judge(url), monitor)
        sampled = backend.sample([SamplingRequest(PROMPTS[0].messages, 2, 0.5, 8, 1)])
        monitor.failure = None
        with pytest.raises(UphillError) as caught:
            ask(tmp_path, backend=backend, cache=cache, monitor=monitor)
    assert "sesame" not in f"{sampled} {notes} {caught.value}"
    cache.__exit__(None, None, None)
    assert all(b"sesame" not in path.read_bytes() for path in tmp_path.glob("cache*"))


def test_a_key_is_in_no_config_and_an_address_with_one_is_refused(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-open")
    assert "sesame" not in judge("https://host/v1").model_dump_json()
    for url in ("https://me:sesame@host/v1", "http://me@host"):
        with pytest.raises(ValueError, match="must not hold a name or password"):
            judge(url)
    assert judge("https://host/v1/@team").url == "https://host/v1/@team"
