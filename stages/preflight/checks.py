"""The early check: each ask becomes chats, which must render, end correctly and fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.artifacts import HELD_OUT, PROMPTS
from common.errors import BadInput
from evals.suite_file import HELD_OUT_SUITE
from models.chat import encode_text
from models.origin import ChatFormat, chat_format_of, judge_chat_format
from models.probes import OTHER, Roles, role_names, roles_of, unrenderable, wrong_ending
from prompts.pairs import load_pairs
from prompts.sample import sample
from prompts.schema import Prompt, read_prompts
from prompts.taught import learnable
from rewards.grader import distinct
from rewards.kinds import kind_of
from stages.declaration import PROMPTS_STAGE
from stages.grading import ALL
from stages.preflight.chats import (
    StageChats,
    corner_case_chats,
    judge_chats,
    pair_chats,
    rollout_chats,
    sft_chats,
    suite_chats,
)
from stages.preflight.config import PreflightStage
from stages.preflight.demonstrations import (
    examples_problem,
    held_out_problem,
    judge_problem,
    rollout_problem,
    turns_problems,
)
from stages.preflight.lengths import Chat, MeasuredLengths, measure
from stages.preflight.suite_parts import NOTHING_HELD_OUT, suite_prompts
from stages.questions import (
    AdoptQuestion,
    CornerCaseQuestion,
    FilterQuestion,
    LearnQuestion,
    PairQuestion,
    Question,
    RollQuestion,
    SuiteQuestion,
)

POLICY = ""


@dataclass(frozen=True)
class PromptProblem:
    """A problem that would end the run later."""

    place: str
    message: str
    remedy: str


class Preflight:
    """The results so far. Asks come in the order of the recipe, because a later stage reads the
    prompts that an earlier one passes on."""

    def __init__(self, config: PreflightStage, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.problems: list[PromptProblem] = []
        self.notes: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self._held_out = read_prompts(HELD_OUT.path(folder), may_be_empty=True)
        self._prompts_of: dict[str, Sequence[Prompt]] = {
            PROMPTS_STAGE: read_prompts(PROMPTS.path(folder))
        }
        """The prompts that each stage passes on, by stage id."""
        self._chat_formats: dict[str, ChatFormat | None] = {}
        """Tokenizer and template by model; None if they cannot be used."""
        self._checked_endings: set[tuple[str, bool]] = set()
        self._renderable: dict[tuple[str, Roles], bool] = {}
        self._check_capabilities()
        self._check_verifiers()

    def ask(self, ask: Question) -> None:
        match ask:
            case FilterQuestion():
                self._check_filter(ask)
            case AdoptQuestion():
                path = PROMPTS.path(Path(ask.folder))
                self._prompts_of[ask.id] = read_prompts(path) if path.is_file() else ()
            case LearnQuestion():
                prompts = self._learnable(ask.place, self._prompts_of[ask.on])
                exact = sample(prompts, ask.limit, ask.seed) if ask.on == PROMPTS_STAGE else prompts
                self._check_learning(ask.place, exact)
            case PairQuestion():
                self._check_pairs(ask)
            case CornerCaseQuestion():
                self._check_chats(corner_case_chats(ask))
            case RollQuestion():
                self._check_rollouts(ask)
            case SuiteQuestion():
                self._check_suite(ask)

    def _check_learning(self, place: str, prompts: Sequence[Prompt]) -> None:
        chat_format = self._chat_format(POLICY, "model")
        self._check_chats(sft_chats(place, prompts, self._context()))
        for message, remedy in turns_problems(chat_format, prompts) if chat_format else ():
            self.problems.append(PromptProblem(place, message, remedy))

    def _learnable(self, place: str, prompts: Sequence[Prompt]) -> list[Prompt]:
        try:
            taught = learnable(prompts)
        except BadInput as error:
            self._report(place, (error.message, error.remedy))
            return []
        if untaught := len(prompts) - len(taught):
            said = f"{untaught} of {len(prompts)} prompts have no answer to learn: left out"
            self.notes.append(f"{place}: {said}")
        return taught

    def _context(self) -> int | None:
        chat_format = self._chat_format(POLICY, "model")
        return chat_format.context if chat_format else None

    def _check_pairs(self, ask: PairQuestion) -> None:
        try:
            pairs = load_pairs(ask.pairs)
        except BadInput as error:
            self._report(ask.place, (error.message, error.remedy))
            return
        self._check_chats(pair_chats(ask.place, pairs, self._context()))

    def _report(self, place: str, problem: tuple[str, str] | None) -> None:
        if problem is not None:
            self.problems.append(PromptProblem(place, *problem))

    def _check_capabilities(self) -> None:
        """Every capability that is evaluated must have training prompts."""
        trained = {prompt.capability for prompt in self._prompts_of[PROMPTS_STAGE]}
        for capability in sorted({prompt.capability for prompt in self._held_out} - trained):
            held = [prompt for prompt in self._held_out if prompt.capability == capability]
            message = (
                f"{capability!r} has {len(held)} held-out prompts and none to train on, such as"
                f" {held[0].named}"
            )
            remedy = "add prompts of that capability, or give its source `held_out: 0`"
            self.problems.append(PromptProblem("prompts", message, remedy))

    def _check_verifiers(self) -> None:
        """What verifiers need must be there: tools, files, services."""
        for prompt in distinct([*self._prompts_of[PROMPTS_STAGE], *self._held_out]):
            for part in prompt.parts:
                try:
                    kind_of(part.verifier, ALL).require(part)
                except BadInput as error:
                    message = f"verifier {part.label} of {prompt.named}: {error.message}"
                    self.problems.append(PromptProblem("prompts", message, error.remedy))

    def _check_filter(self, ask: FilterQuestion) -> None:
        """A prompt that fits no judge is not judged, so no later stage gets it."""
        prompts = sample(self._prompts_of[PROMPTS_STAGE], ask.limit, ask.seed)
        judged: set[str] = set()
        for number, judge in enumerate(ask.judges):
            place = f"{ask.place}.judges[{number}]"
            self._report(f"{place}.examples", examples_problem(judge, prompts))
            self._report(place, judge_problem(judge, prompts))
            lengths = None
            if judge.model is not None:
                lengths = self._check_chats(judge_chats(place, judge, prompts))
            too_long = {prompt.id for _, prompt in lengths.too_long} if lengths else set()
            judged |= {prompt.id for prompt in prompts} - too_long
        self._prompts_of[ask.id] = [prompt for prompt in prompts if prompt.id in judged]

    def _check_rollouts(self, ask: RollQuestion) -> None:
        prompts = self._prompts_of[ask.on]
        if ask.id:
            self._prompts_of[ask.id] = prompts
        self._report(ask.place, rollout_problem(prompts, ask.ends_the_run))
        graded = [prompt for prompt in prompts if not prompt.is_demonstration]
        if ask.ends_the_run and 0 < len(graded) < len(prompts):
            left_out = f"{len(prompts) - len(graded)} of {len(prompts)} prompts are demonstrations"
            self.notes.append(f"{ask.place}: {left_out}, which have no verifier: left out")
        for chats in rollout_chats(ask, graded):
            before = len(self.problems) + len(self.notes)
            self._check_chats(chats)
            if len(self.problems) + len(self.notes) > before:
                return  # other system prompts would give the same messages again

    def _check_suite(self, ask: SuiteQuestion) -> None:
        if ask.suite.name == HELD_OUT_SUITE and not self._held_out:
            self._report(ask.place, NOTHING_HELD_OUT)
            return
        if ask.suite.name == HELD_OUT_SUITE:
            self._report(ask.place, held_out_problem(self._held_out))
        prompts, problem, notes = suite_prompts(ask, self.folder)
        self._report(ask.place, problem)
        self.notes += notes
        self._check_chats(suite_chats(ask, prompts))

    def _chat_format(self, model: str, place: str) -> ChatFormat | None:
        """Tokenizer and template of a judge or the policy. A problem with them is reported once."""
        if model not in self._chat_formats:
            try:
                self._chat_formats[model] = (
                    judge_chat_format(model) if model else chat_format_of(self.config.model)
                )
            except BadInput as error:
                self._chat_formats[model] = None
                self.problems.append(PromptProblem(place, error.message, error.remedy))
        return self._chat_formats[model]

    def _check_chats(self, stage: StageChats) -> MeasuredLengths | None:
        """Check template and room for one stage's chats; None if they could not be measured."""
        chat_format = self._chat_format(
            stage.model, f"{stage.place}.model" if stage.model else "model"
        )
        if chat_format is None:
            return None
        chats = [chat for chat in stage.chats if self._renders(stage, chat, chat_format)]
        if not chats or stage.room is None:
            return None
        try:
            room = stage.room - len(encode_text(chat_format.tokenizer, stage.lead))
            lengths = measure(chat_format, chats, room, opened=stage.opened)
        except BadInput as error:
            self.problems.append(PromptProblem(stage.place, error.message, error.remedy))
            return None
        self._record(stage, lengths, room)
        return lengths

    def _renders(self, stage: StageChats, chat: Chat, chat_format: ChatFormat) -> bool:
        """Whether the template renders chats of this roles. A problem is reported once per model
        and roles."""
        roles = roles_of(chat.messages if stage.opened else chat.messages[:-1])
        if (stage.model, roles) not in self._renderable:
            reason = unrenderable(chat_format, roles)
            self._renderable[stage.model, roles] = reason is None
            if reason is not None:
                self._refuse_roles(stage, chat, roles, reason)
        renders = self._renderable[stage.model, roles]
        if renders and (stage.model, stage.trains) not in self._checked_endings:
            self._checked_endings.add((stage.model, stage.trains))
            for message, remedy in wrong_ending(chat_format, roles, stage.trains):
                self._refuse_template(stage, message, remedy)
        return renders

    def _refuse_roles(self, stage: StageChats, chat: Chat, roles: Roles, reason: str) -> None:
        place, remedy = stage.place, OTHER
        if roles[0] == "system":
            place = self._place_of_system(stage, chat)
            remedy = f"{OTHER}, or leave the system message out"
        model, said = self._model_name(stage), role_names(roles)
        message = (
            f"the chat template of {model} cannot take a chat of {said}, as {chat.prompt.named} is:"
            f" {reason}"
        )
        self.problems.append(PromptProblem(place, message, remedy))

    def _place_of_system(self, stage: StageChats, chat: Chat) -> str:
        """Path in the recipe of the chat's system message; the stage's if it comes from a row."""
        own = chat.prompt.messages[0]
        by_stage = own["role"] != "system" or stage.system_place.endswith(".system")
        if by_stage and stage.system_place:
            return stage.system_place
        given = [place for place, text in self.config.systems.items() if text == own["content"]]
        return next(iter(given), stage.place)

    def _refuse_template(self, stage: StageChats, message: str, remedy: str) -> None:
        place = f"{stage.place}.model" if stage.model else "model"
        message = f"the chat template of {self._model_name(stage)}: {message}"
        problem = PromptProblem(place, message, remedy)
        if problem not in self.problems:
            self.problems.append(problem)

    def _model_name(self, stage: StageChats) -> str:
        model = self.config.model
        return stage.model or str(model.upcycle or model.checkpoint or model.preset)

    def _record(self, stage: StageChats, lengths: MeasuredLengths, room: int) -> None:
        """Add a row about the lengths, and a note or a problem if prompts do not fit."""
        count, too_long = len({chat.prompt.id for chat in stage.chats}), len(lengths.too_long)
        row = {"place": stage.place, "chats": lengths.chats, "longest": lengths.longest}
        self.rows.append({**row, "room": room, "too_long": too_long})
        if not too_long:
            return
        message = (
            f"{too_long} of {count} prompts are longer than {stage.limit}, {room} tokens:"
            f" {lengths.named}"
        )
        if stage.consequence and too_long < count:
            self.notes.append(f"{stage.place}: {message}; {stage.consequence}")
        else:
            self.problems.append(PromptProblem(stage.place, message, stage.remedy))
