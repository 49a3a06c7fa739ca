"""The entry point `uphill`: first proof that our packages are our own, then the commands, then exit
codes.

Nothing of ours is imported before that proof: a package of another distribution may have its name.
"""

import sys

from pipeline.checkout import shadowed


def main() -> int:
    """Run the command line; returns the exit code."""
    if lines := shadowed():
        print("error: " + "\n".join(lines), file=sys.stderr)
        print(
            "  remedy: uninstall the other distribution, or use an environment of this"
            " checkout's own",
            file=sys.stderr,
        )
        return 2
    from pipeline.cli.commands import run_command

    return run_command()
