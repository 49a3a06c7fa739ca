"""The entry point `uphill`: checks that no package of ours is shadowed, then runs the command.

None of our packages is imported before that check, because another distribution may have a package
of the same name."""

import sys

from pipeline.checkout import shadowed


def main() -> int:
    """Run the command line; return the exit code."""
    if lines := shadowed():
        print("error: " + "\n".join(lines), file=sys.stderr)
        print(
            "  remedy: uninstall the other distribution, or use a separate environment for this"
            " checkout",
            file=sys.stderr,
        )
        return 2
    from pipeline.cli.commands import run_command

    return run_command()
