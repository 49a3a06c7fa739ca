"""A grader that says what a function says."""

from collections.abc import Callable

from prompts.schema import Prompt
from rewards.grader import Grade, Grader


class GivenGrades(Grader):
    """Grades by `grade(prompt, text)`; opens no verifier."""

    def __init__(self, grade: Callable[[Prompt, str], Grade]) -> None:
        super().__init__()
        self.grade = grade

    def submit(self, prompt, completions, tokens=None):
        grades = [self.grade(prompt, text) for text in completions]
        return lambda: grades
