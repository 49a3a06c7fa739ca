"""The request parameters that are sent to an endpoint: those of the config, less those that the
endpoint turns out to refuse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.judge_settings import JudgeSettings
from judges.backend import Messages
from judges.refusal import NoReply

_LENGTHS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the length limit, each with the other one."""
_LEFT_OUT = {
    "seed": "seed is left out, so replies cannot be repeated",
    "temperature": "temperature is left out, so the endpoint's own is used",
    "n": "n is left out, so each completion is a request",
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What one request asks for, independent of parameter names."""

    messages: Messages
    max_tokens: int
    samples: int = 1
    temperature: float | None = None
    seed: int | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Parameters:
    """The request parameters that an endpoint accepts, as far as known."""

    length: str
    """Name of the length limit."""
    left_out: frozenset[str]
    """Those of seed, temperature and n that are not sent."""
    top: int
    """Likeliest tokens requested at each position; 0: no log-probabilities."""
    refused: frozenset[str] = frozenset()
    """Names of the length limit that the endpoint refuses."""

    def settings(self, request: ChatRequest) -> dict[str, Any]:
        """The request's parameters, without model and messages."""
        settings: dict[str, Any] = {self.length: request.max_tokens}
        if request.samples > 1:
            settings["n"] = request.samples
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        if request.seed is not None:
            settings["seed"] = request.seed % 2**31
        if request.logprobs and self.top:
            settings |= {"logprobs": True, "top_logprobs": self.top}
        return {name: value for name, value in settings.items() if name not in self.left_out}

    def without_refused(self, error: NoReply, request: ChatRequest) -> "Parameters | None":
        """These parameters without those that `error` names; None if it names none that can be
        left out."""
        named: set[str] = set()
        if error.may_concern_parameters:
            named = _named(error, self.settings(request))
        fewer = replace(self, left_out=self.left_out | (named & _LEFT_OUT.keys()))
        if self.length in named and _LENGTHS[self.length] not in self.refused:
            fewer = replace(
                fewer, length=_LENGTHS[self.length], refused=self.refused | {self.length}
            )
        if named & {"logprobs", "top_logprobs"}:
            # An upper limit such as "at most 5" is a number below ours. Without such a number the
            # endpoint gives no log-probabilities.
            lower = [
                number
                for number in map(int, re.findall(r"\d+", _without_status(error)))
                if number < self.top
            ]
            fewer = replace(fewer, top=max(lower, default=0))
        return None if fewer == self else fewer

    def without_logprobs(self) -> "Parameters":
        return replace(self, top=0)

    def merged(self, accepted: "Parameters", start: "Parameters") -> "Parameters":
        """These parameters combined with the findings of a request that began with `start` and
        succeeded with `accepted`."""
        length = accepted.length if accepted.length != start.length else self.length
        left_out, top = self.left_out | accepted.left_out, min(self.top, accepted.top)
        return Parameters(length, left_out, top, self.refused | accepted.refused)

    def changes_since(self, before: "Parameters", samples: int) -> list[str]:
        """The differences from `before`, one phrase each."""
        changes = []
        if self.length != before.length:
            changes.append(f"the length limit is sent as {self.length}")
        changes += [_LEFT_OUT[name] for name in sorted(self.left_out - before.left_out)]
        if self.top != before.top and self.top:
            changes.append(f"top_logprobs is {self.top}, not {before.top}")
        elif self.top != before.top:
            changes.append(
                f"there are no log-probabilities, so labels are shares of {samples} sampled replies"
            )
        return changes

    def as_settings(self, configured: "Parameters") -> str:
        """The judge settings that differ from `configured` and would give these parameters from
        the start."""
        settings = []
        if self.length != configured.length:
            settings.append(f"length_parameter: {self.length}")
        if self.left_out != configured.left_out:
            settings.append(f"leave_out: [{', '.join(sorted(self.left_out))}]")
        if self.top != configured.top:
            settings.append(f"top_logprobs: {self.top}")
        return ", ".join(settings)


def parameters_of(config: JudgeSettings) -> Parameters:
    return Parameters(config.length_parameter, frozenset(config.leave_out), config.top_logprobs)


def _without_status(error: NoReply) -> str:
    """The error's message without the HTTP status in front."""
    return error.message.partition(": ")[2]


def _named(error: NoReply, sent: Mapping[str, Any]) -> set[str]:
    """The parameters that an error is about: the one in its `param`, otherwise every one that its
    message names."""
    if error.param in sent:
        return {error.param}
    # The backslash: the n of a line break written as \n is not the parameter n.
    message = _without_status(error)
    return {name for name in sent if re.search(rf"(?<![\w\\]){name}(?!\w)", message)}
