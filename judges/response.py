"""What is read of a chat completion. Servers differ in all the rest, so only what is needed must be
there."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from judges.backend import Completion
from judges.refusal import NoReply, error_in, refusal, shortened

IMPOSSIBLE = -9999.0
"""What vLLM writes for a log-probability of minus infinity, as JSON has none."""
_CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens"}
_FILTERED = {
    "content_filter",
    "safety",
    "sensitive",
    "recitation",
    "prohibited_content",
    "blocklist",
    "refusal",
}
_BROKEN_OFF = {"error", "abort", "network_error", "insufficient_system_resource"}
_OTHER_USE = {"tool_calls", "function_call", "tool_use"}
"""Words for how a reply ended, in lower case. Any other word, and none, is that of a whole reply if
there is text."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    logprob: float
    top: tuple["Token", ...] = ()
    """The likeliest tokens in its place."""


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of a chat completion."""

    text: str | None
    """What is written for the reader: reasoning that the server keeps apart is no part of it."""
    thought: bool
    """Whether there was reasoning."""
    refusal: str
    finish: str
    """The server's own word; `null` without one."""
    tokens: tuple[Token, ...] = ()
    """With log-probabilities, if it gives them; those of the reasoning may come first."""
    error: str = ""
    """What broke it off."""


@dataclass(frozen=True, slots=True)
class Response:
    choices: list[Said]
    prompt_tokens: int | None = None
    completion_tokens: int = 0
    prompt_logprobs: list[list[float]] = field(default_factory=list)
    """vLLM's: of each prompt token the log-probabilities that it gives, none of the first."""


def read(content: bytes, key: str | None) -> Response:
    """The response in an HTTP 200. Raises NoReply if it is none: an error all the same, or
    something else."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        said = shortened(content.decode(errors="replace"), key)
        raise NoReply(f"HTTP 200 without a chat completion: {said}", fault="endpoint_error")
    if error_in(body) is not None:
        raise refusal(200, body, key)
    usage = _mapping(body.get("usage"))
    prompt, completion = (
        _number(usage.get("prompt_tokens")),
        _number(usage.get("completion_tokens")),
    )
    choices = [_choice(_mapping(choice), key) for choice in _list(body["choices"])]
    entries = [_mapping(entry).values() for entry in _list(body.get("prompt_logprobs"))]
    prompt_logprobs = [
        [_logprob(_mapping(one).get("logprob")) for one in entry] for entry in entries
    ]
    return Response(
        choices, None if prompt is None else int(prompt), int(completion or 0), prompt_logprobs
    )


def completions(response: Response, how: str = "") -> list[Completion]:
    """What each choice is worth; `how` as in `Reply`."""
    found = []
    for place, said in enumerate(response.choices):
        # The endpoint counts tokens over all choices: booked on the first, so that they add up.
        tokens = response.completion_tokens if place == 0 else 0
        text, word = said.text or "", said.finish.lower()
        if word in _FILTERED or said.refusal:
            found.append(Completion(said.refusal or text, "none", tokens, fault="refused"))
        elif word in _CUT_OFF or (said.thought and not text.strip()):
            # Reasoning alone is a reply that has not got to its answer, whatever its last word.
            found.append(Completion(text, "length", tokens, how=how))
        elif word in _BROKEN_OFF:
            found.append(
                Completion(said.error or said.finish, "none", tokens, fault="endpoint_error")
            )
        elif word in _OTHER_USE:
            found.append(Completion(text, "none", tokens, fault=f"finish_{word}"))
        elif said.text is None:
            found.append(Completion("", "none", tokens, fault="empty_reply"))
        else:
            found.append(Completion(text, said.finish, tokens, how=how))
    return found


def _logprob(value: Any) -> float:
    """A log-probability, minus infinity and none as IMPOSSIBLE."""
    number = _number(value)
    return IMPOSSIBLE if number is None or math.isnan(number) else max(number, IMPOSSIBLE)


def _choice(choice: Mapping[str, Any], key: str | None) -> Said:
    message = _mapping(choice.get("message"))
    parts = message.get("content")
    apart = any(
        message.get(name) for name in ("reasoning_content", "reasoning", "reasoning_details")
    )
    inside = any(_mapping(part).get("type") in ("thinking", "reasoning") for part in _list(parts))
    finish = choice.get("finish_reason")
    refused = message.get("refusal")
    return Said(
        text=_text(parts),
        thought=apart or inside,
        refusal=refused if isinstance(refused, str) else "",
        finish=finish if isinstance(finish, str) and finish else "null",
        tokens=_tokens(_mapping(choice.get("logprobs")).get("content")),
        error=refusal(200, choice, key).said if choice.get("error") else "",
    )


def _text(content: Any) -> str | None:
    """The text of a message's content, which is a string or a list of parts; None if it holds
    none."""
    if isinstance(content, str):
        return content
    parts = [
        part if isinstance(part, str) else _mapping(part).get("text") for part in _list(content)
    ]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if texts else None


def _tokens(content: Any) -> tuple[Token, ...]:
    """The tokens, or none at all if one cannot be read: then nobody knows where the others
    stand."""
    entries = [_mapping(entry) for entry in _list(content)]
    if any(not isinstance(entry.get("token"), str) for entry in entries):
        return ()
    return tuple(
        Token(entry["token"], _logprob(entry.get("logprob")), _top(entry)) for entry in entries
    )


def _top(entry: Mapping[str, Any]) -> tuple[Token, ...]:
    others = [_mapping(other) for other in _list(entry.get("top_logprobs"))]
    return tuple(
        Token(other["token"], _logprob(other.get("logprob")))
        for other in others
        if isinstance(other.get("token"), str)
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
