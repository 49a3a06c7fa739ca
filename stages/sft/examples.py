"""What SFT trains on: prompts with their answers, and demonstrations, as tokens and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from common.errors import BadInput
from models.turns import encode_last_turn, encode_turns
from prompts.schema import Prompt
from training.accumulation import IGNORED


@dataclass(frozen=True, slots=True)
class Example:
    """A chat as tokens."""

    ids: list[int]
    labels: list[int]
    """The token ids where the assistant writes them, and `IGNORED` elsewhere."""

    @property
    def row(self) -> Mapping[str, list[int]]:
        """The row of a trainer's dataset, ready to be collated."""
        return {"input_ids": self.ids, "labels": self.labels}


def encoded(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[Example]:
    """Each prompt with its target. Of a demonstration every turn of the assistant is learnt, of
    another prompt the target alone.

    BadInput, naming the prompt, if the chat template cannot tell the turns of a demonstration
    apart."""
    return [_encoded(tokenizer, prompt) for prompt in prompts]


def _encoded(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> Example:
    chat = [*prompt.messages, prompt.reply]
    encode = encode_turns if prompt.is_demonstration else encode_last_turn
    try:
        ids, learnt = encode(tokenizer, chat)
    except BadInput as error:
        raise BadInput(f"{prompt.named}: {error.message}", error.remedy) from error
    labels = [id if mine else IGNORED for id, mine in zip(ids, learnt, strict=True)]
    return Example(ids, labels)
