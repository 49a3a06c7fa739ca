"""`python -m rollouts.talk CHECKPOINT`: one engine that replies."""

import sys

from rollouts.talk.worker import main

main(sys.argv[1:])
