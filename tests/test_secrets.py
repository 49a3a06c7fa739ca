"""A key goes to its endpoint and nowhere else."""

import pytest
from scripted_judge import PROMPTS, endpoint

from common.errors import BadInput
from judges.config import AttemptsJudge
from judges.endpoint import EndpointSource
from judges.source import Request


def judge(url):
    return AttemptsJudge(kind="attempts", url=url, model_name="judge", patience_s=0, api_key_env="JUDGE_KEY")


def test_a_key_is_in_no_message_even_if_the_endpoint_repeats_it(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-open")
    said = {"error": {"message": "Incorrect API key provided: sesame-open"}}
    with endpoint(lambda request: (401, said)) as (url, _), pytest.raises(BadInput) as caught:
        EndpointSource(judge(url)).sample([Request(PROMPTS[0].messages, 1, 0.5, 8, 1)])
    assert "the key in JUDGE_KEY" in str(caught.value) and "sesame" not in str(caught.value)


def test_a_key_is_in_no_config_and_an_address_with_one_is_refused(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-open")
    assert "sesame" not in judge("https://host/v1").model_dump_json()
    for url in ("https://me:sesame@host/v1", "http://me@host"):
        with pytest.raises(ValueError, match="must not hold a name or password"):
            judge(url)
    assert judge("https://host/v1/@team").url == "https://host/v1/@team"
