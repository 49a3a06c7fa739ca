"""The command line with the toy kind in its registry: `python uphill.py plan RECIPE ...`."""

import sys

from stages import registry
from toy_kind.config import ScaleStage

registry.KINDS = (*registry.KINDS, ScaleStage)  # before the recipe's schema is imported

if __name__ == "__main__":
    from pipeline.cli.main import main

    sys.exit(main())
