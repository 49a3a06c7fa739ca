"""`python -m pipeline` is the same command as `uphill`."""

import sys

from pipeline.cli import main

sys.exit(main())
