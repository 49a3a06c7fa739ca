"""A model of lm-evaluation-harness whose answers come from one of our engines.

Text becomes tokens as in the harness's own `hf` model, so that both are asked the same: the
tokenizer decides on a beginning token, and reads control words in a text as control tokens."""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from common.errors import BadInput
from evals.harness.requests import Pair, Requests, Writing

MAX_TOKENS = 256
"""Longest text where a task names no length: the harness's own default."""
GREEDY_ALIKE = {"top_p", "top_k", "min_p"}
"""Settings of sampling that change nothing at temperature 0."""


class EngineLM(TemplateLM):
    """Answers the harness's requests through `requests`, with the checkpoint's tokenizer."""

    def __init__(self, requests: Requests, tokenizer: Any) -> None:
        super().__init__()
        self._requests = requests
        self.tokenizer = tokenizer

    @property
    def eot_token_id(self) -> int:
        token: int = self.tokenizer.eos_token_id
        return token

    @property
    def prefix_token_id(self) -> int:
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else first

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Token ids; a beginning token that the text has already is not added again."""
        if add_special_tokens is None and string.startswith(
            self.tokenizer.decode(self.prefix_token_id)
        ):
            add_special_tokens = False
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        ids: list[int] = self.tokenizer.encode(string, **options)
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        return self._requests.loglikelihoods([(context, text) for _, context, text in requests])

    def loglikelihood_rolling(self, requests: Sequence[Any], **kwargs: Any) -> list[float]:
        """The log-likelihood of whole texts, window by window."""
        windows = [self._windows(*request.args) for request in requests]
        scored = iter(self._requests.loglikelihoods([pair for one in windows for pair in one]))
        return [sum(next(scored)[0] for _ in one) for one in windows]

    def generate_until(self, requests: Sequence[Any], **kwargs: Any) -> list[str]:
        """What follows each context, up to a stop string; requests that are written alike go
        together."""
        alike: dict[Writing, list[int]] = {}
        for number, request in enumerate(requests):
            alike.setdefault(self._writing(request.args[1]), []).append(number)
        texts = [""] * len(requests)
        for how, numbers in alike.items():
            prompts = [self.tok_encode(requests[number].args[0]) for number in numbers]
            for number, text in zip(numbers, self._requests.texts(prompts, how), strict=True):
                texts[number] = text
        return texts

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as the checkpoint's template writes it."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The checkpoint's own template."""
        return self.tokenizer.chat_template if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def _windows(self, text: str) -> list[Pair]:
        # The engine keeps one token free, and a window has one token more than its length.
        length = self._requests.engine.max_model_len - 2
        tokens = self.tok_encode(text)
        windows = get_rolling_token_windows(tokens, self.prefix_token_id, length, 1)
        return [make_disjoint_window(window) for window in windows]

    def _writing(self, settings: dict[str, Any]) -> Writing:
        """How a task wants its texts. BadInput for settings that the engine does not have."""
        known = normalize_gen_kwargs(settings, MAX_TOKENS)
        eos = self.tokenizer.decode(self.eot_token_id)
        stops = tuple(handle_stop_sequences(known.pop("until", None), eos=eos))
        length, temperature = known.pop("max_gen_toks"), known.pop("temperature", 0.0)
        known.pop("do_sample", None)
        left = sorted(set(known) - (set() if temperature else GREEDY_ALIKE))
        if left:
            raise BadInput(
                f"a task generates with {', '.join(left)}, which the engine does not have",
                "leave the task out",
            )
        return Writing(stops, int(length), float(temperature))
