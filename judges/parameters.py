"""Which request parameters an endpoint takes: those of the config, less what it turns out to
refuse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from judges.backend import Messages
from judges.config import JudgeConfig
from judges.refusal import NoReply

_LENGTHS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the length limit, each with the other one."""
_LEFT_OUT = {
    "seed": "seed is left out, so replies cannot be repeated",
    "temperature": "temperature is left out, so its own is used",
    "n": "n is left out, so each completion is a request",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request is to bring."""

    messages: Messages
    max_tokens: int
    samples: int = 1
    temperature: float | None = None
    seed: int | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Parameters:
    length: str
    """What the length limit is called."""
    left_out: frozenset[str]
    """Of seed, temperature and n."""
    top: int
    """Most likely tokens asked for at each place; 0: no log-probabilities."""
    refused: frozenset[str] = frozenset()
    """Names of the length limit that the endpoint does not know."""

    def settings(self, wish: Wish) -> dict[str, Any]:
        """The request without its model and messages."""
        found: dict[str, Any] = {self.length: wish.max_tokens}
        found |= {"n": wish.samples} if wish.samples > 1 else {}
        found |= {"temperature": wish.temperature} if wish.temperature is not None else {}
        found |= {"seed": wish.seed % 2**31} if wish.seed is not None else {}
        found |= {"logprobs": True, "top_logprobs": self.top} if wish.logprobs and self.top else {}
        return {name: value for name, value in found.items() if name not in self.left_out}

    def less(self, error: NoReply, wish: Wish) -> "Parameters | None":
        """Without the parameters that `error` names; None if it names none that can be done
        without."""
        named = _named(error, self.settings(wish)) if error.of_form else set()
        found = replace(self, left_out=self.left_out | (named & _LEFT_OUT.keys()))
        if self.length in named and _LENGTHS[self.length] not in self.refused:
            found = replace(
                found, length=_LENGTHS[self.length], refused=self.refused | {self.length}
            )
        if named & {"logprobs", "top_logprobs"}:
            # "At most 5" is a number below ours; without one there are none to have.
            lower = [
                number
                for number in map(int, re.findall(r"\d+", _own_words(error)))
                if number < self.top
            ]
            found = replace(found, top=max(lower, default=0))
        return None if found == self else found

    def without_logprobs(self) -> "Parameters":
        return replace(self, top=0)

    def also(self, found: "Parameters", start: "Parameters") -> "Parameters":
        """With what a request that began with `start` and went through with `found` has found
        out."""
        changed = found if found.length != start.length else self
        left_out, top = self.left_out | found.left_out, min(self.top, found.top)
        return Parameters(changed.length, left_out, top, self.refused | found.refused)

    def since(self, before: "Parameters", samples: int) -> list[str]:
        """What is another than `before`, in words."""
        found = (
            [f"the length limit is sent as {self.length}"] if self.length != before.length else []
        )
        found += [_LEFT_OUT[name] for name in sorted(self.left_out - before.left_out)]
        if self.top != before.top and self.top:
            found.append(f"top_logprobs is {self.top}, not {before.top}")
        elif self.top != before.top:
            found.append(
                f"there are no log-probabilities, so labels are shares of {samples} sampled replies"
            )
        return found

    def setting(self, configured: "Parameters") -> str:
        """What the judge's settings would have to say, other than now, to ask in this way from the
        start."""
        found = [f"length_parameter: {self.length}"] if self.length != configured.length else []
        if self.left_out != configured.left_out:
            found.append(f"leave_out: [{', '.join(sorted(self.left_out))}]")
        found += [f"top_logprobs: {self.top}"] if self.top != configured.top else []
        return ", ".join(found)


def parameters_of(config: JudgeConfig) -> Parameters:
    return Parameters(config.length_parameter, frozenset(config.leave_out), config.top_logprobs)


def _own_words(error: NoReply) -> str:
    """Without the status in front."""
    return error.said.partition(": ")[2]


def _named(error: NoReply, sent: Mapping[str, Any]) -> set[str]:
    """The parameters that a refusal is about: the one it points at, else all that its words
    name."""
    if error.param in sent:
        return {error.param}
    # The backslash: no parameter in a line break that was written as \n.
    return {name for name in sent if re.search(rf"(?<![\w\\]){name}(?!\w)", _own_words(error))}
