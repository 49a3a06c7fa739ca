"""Functions of the user's, and what grades with them."""

from contextlib import contextmanager

from builders.processes import children, cmdline
from prompts.function_part import FunctionPart
from prompts.parts import read_part
from rewards.function.verifier import Function
from rewards.interface import Answer, Resources


def stored_part(folder, source, **settings):
    """The part of a recipe that names a file with this source, as prompts hold it."""
    file = folder / "my_reward.py"
    file.write_text(source)
    return read_part(FunctionPart(verifier="function", file=str(file), **settings).stored())


@contextmanager
def opened(folder, source, threads=1, **settings):
    """Grades answers to a prompt with a function: `grade(prompt, *texts)`."""
    part = stored_part(folder, source, **settings)
    verifier = Function().open(part, Resources(threads=threads))
    try:
        yield lambda prompt, *texts: verifier.grade(prompt, [Answer(text) for text in texts])
    finally:
        verifier.close()


def workers(process):
    """Process ids of the processes in which a process calls functions."""
    return [child for child in children(process) if "child.py" in cmdline(child)]
