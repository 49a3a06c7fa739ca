"""The early check at work: each ask becomes chats, which must be renderable, end well and find
room."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import BadInput
from evals.suites import load_suite
from judges.config import JudgeConfig
from models.chat import encode_text
from models.origin import ChatFormat, chat_format_of, judge_chat_format
from models.probes import OTHER, Roles, role_names, roles_of, unrenderable, wrong_ending
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts
from stages.declaration import PROMPTS_STAGE
from stages.preflight.chats import Talk, answering, judging, learning, rolling
from stages.preflight.config import PreflightStage
from stages.preflight.lengths import Chat, MeasuredLengths, measure
from stages.questions import (
    AdoptQuestion,
    FilterQuestion,
    LearnQuestion,
    Question,
    RollQuestion,
    SuiteQuestion,
)

HELD_OUT = "held_out"
POLICY = ""


@dataclass(frozen=True)
class PromptProblem:
    """One thing that would end the run later."""

    place: str
    message: str
    remedy: str


class Preflight:
    """What was found so far. Asks come in the recipe's order: a later stage reads what an earlier
    one lets through."""

    def __init__(self, config: PreflightStage, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.problems: list[PromptProblem] = []
        self.notes: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self._held_out = read_prompts(folder / "held_out.parquet", may_be_empty=True)
        self._reaching: dict[str, Sequence[Prompt]] = {
            PROMPTS_STAGE: read_prompts(folder / "prompts.parquet")
        }
        self._speeches: dict[str, ChatFormat | None] = {}
        self._endings: set[tuple[str, bool]] = set()
        self._shapes: dict[tuple[str, Roles], bool] = {}
        self._capabilities()

    def ask(self, ask: Question) -> None:
        match ask:
            case FilterQuestion():
                self._filter(ask)
            case AdoptQuestion():
                path = Path(ask.folder) / "prompts.parquet"
                self._reaching[ask.id] = read_prompts(path) if path.is_file() else ()
            case LearnQuestion():
                prompts = self._reaching[ask.on]
                exact = sample(prompts, ask.limit, ask.seed) if ask.on == PROMPTS_STAGE else prompts
                speech = self._speech(POLICY, "model")
                self._talk(learning(ask.place, exact, speech.context if speech else None))
            case RollQuestion():
                self._roll(ask)
            case SuiteQuestion():
                self._suite(ask)

    def _capabilities(self) -> None:
        """Every capability that is evaluated must be trained, too."""
        trained = {prompt.capability for prompt in self._reaching[PROMPTS_STAGE]}
        for capability in sorted({prompt.capability for prompt in self._held_out} - trained):
            held = [prompt for prompt in self._held_out if prompt.capability == capability]
            message = (
                f"{capability!r} has {len(held)} held-out prompts and none to train on, such as"
                f" {held[0].named}"
            )
            remedy = "add prompts of that capability, or give its source `held_out: 0`"
            self.problems.append(PromptProblem("prompts", message, remedy))

    def _filter(self, ask: FilterQuestion) -> None:
        """What no judge has room for is not judged, and so reaches no later stage."""
        prompts = sample(self._reaching[PROMPTS_STAGE], ask.limit, ask.seed)
        heard: set[str] = set()
        for number, judge in enumerate(ask.judges):
            place = f"{ask.place}.judges[{number}]"
            self._idle_examples(place, judge, prompts)
            found = self._talk(judging(place, judge, prompts)) if judge.model is not None else None
            dropped = {prompt.id for _, prompt in found.too_long} if found else set()
            heard |= {prompt.id for prompt in prompts} - dropped
        self._reaching[ask.id] = [prompt for prompt in prompts if prompt.id in heard]

    def _idle_examples(self, place: str, judge: JudgeConfig, prompts: Sequence[Prompt]) -> None:
        known = sorted({prompt.capability for prompt in prompts})
        idle = sorted(set(judge.examples) - set(known)) if judge.kind == "attempts" else []
        if idle:
            message = f"no prompt has the capability {', '.join(map(repr, idle))}"
            self.problems.append(
                PromptProblem(
                    f"{place}.examples", message, f"name one that is there: {', '.join(known)}"
                )
            )

    def _roll(self, ask: RollQuestion) -> None:
        prompts = self._reaching[ask.on]
        if ask.id:
            self._reaching[ask.id] = prompts
        for talk in rolling(ask, prompts):
            before = len(self.problems) + len(self.notes)
            self._talk(talk)
            if (
                len(self.problems) + len(self.notes) > before
            ):  # another system prompt would say the same again
                return

    def _suite(self, ask: SuiteQuestion) -> None:
        if ask.suite.name == HELD_OUT and not self._held_out:
            message = (
                "held_out is asked, but no prompt is held out: every capability of every source has"
                " only one"
            )
            remedy = "give a source more prompts or a larger `held_out`, or leave the suite out"
            self.problems.append(PromptProblem(ask.place, message, remedy))
            return
        self._talk(answering(ask, load_suite(ask.suite, self.folder)))

    def _speech(self, model: str, place: str) -> ChatFormat | None:
        """The chat format of a judge or the policy. A problem with it is reported once."""
        if model not in self._speeches:
            try:
                self._speeches[model] = (
                    judge_chat_format(model) if model else chat_format_of(self.config.model)
                )
            except BadInput as error:
                self._speeches[model] = None
                self.problems.append(PromptProblem(place, error.message, error.remedy))
        return self._speeches[model]

    def _talk(self, talk: Talk) -> MeasuredLengths | None:
        """Hold one stage's chats against template and room; None where they could not be
        measured."""
        speech = self._speech(talk.model, f"{talk.place}.model" if talk.model else "model")
        if speech is None:
            return None
        chats = [chat for chat in talk.chats if self._renders(talk, chat, speech)]
        if not chats or talk.room is None:
            return None
        try:
            room = talk.room - len(encode_text(speech.tokenizer, talk.lead))
            found = measure(speech, chats, room, opened=talk.opened)
        except BadInput as error:
            self.problems.append(PromptProblem(talk.place, error.message, error.remedy))
            return None
        self._book(talk, found, room)
        return found

    def _renders(self, talk: Talk, chat: Chat, speech: ChatFormat) -> bool:
        """Whether the template takes chats of this shape; what is wrong is said once a model and
        shape."""
        shape = roles_of(chat.messages if talk.opened else chat.messages[:-1])
        if (talk.model, shape) not in self._shapes:
            wrong = unrenderable(speech, shape)
            self._shapes[talk.model, shape] = wrong is None
            if wrong is not None:
                self._refuse_shape(talk, chat, shape, wrong)
        fine = self._shapes[talk.model, shape]
        if fine and (talk.model, talk.trains) not in self._endings:
            self._endings.add((talk.model, talk.trains))
            for message, remedy in wrong_ending(speech, shape, talk.trains):
                self._refuse_template(talk, message, remedy)
        return fine

    def _refuse_shape(self, talk: Talk, chat: Chat, shape: Roles, wrong: str) -> None:
        place, remedy = talk.place, OTHER
        if shape[0] == "system":
            own = chat.prompt.messages[0]
            given = [where for where, text in self.config.systems.items() if text == own["content"]]
            added = own["role"] != "system" or talk.system_place.endswith(".system")
            place = (
                talk.system_place if added and talk.system_place else next(iter(given), talk.place)
            )
            remedy = f"{OTHER}, or leave the system message out"
        roles = role_names(shape)
        message = f"the chat template of {self._whose(talk)} cannot take a chat of {roles}"
        self.problems.append(
            PromptProblem(place, f"{message}, as {chat.prompt.named} is: {wrong}", remedy)
        )

    def _refuse_template(self, talk: Talk, message: str, remedy: str) -> None:
        place = f"{talk.place}.model" if talk.model else "model"
        problem = PromptProblem(
            place, f"the chat template of {self._whose(talk)}: {message}", remedy
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def _whose(self, talk: Talk) -> str:
        model = self.config.model
        return talk.model or str(model.upcycle or model.checkpoint or model.preset)

    def _book(self, talk: Talk, found: MeasuredLengths, room: int) -> None:
        count = len({chat.prompt.id for chat in talk.chats})
        row = {"place": talk.place, "chats": found.chats, "longest": found.longest, "room": room}
        self.rows.append({**row, "too_long": len(found.too_long)})
        if not found.too_long:
            return
        message = (
            f"{len(found.too_long)} of {count} prompts are longer than {talk.what}, {room} tokens"
        )
        message = f"{message}: {found.named}"
        if talk.otherwise and len(found.too_long) < count:
            self.notes.append(f"{talk.place}: {message}; {talk.otherwise}")
        else:
            self.problems.append(PromptProblem(talk.place, message, talk.remedy))
