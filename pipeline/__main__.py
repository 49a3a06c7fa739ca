"""`python -m pipeline` is the same command as `uphill`."""

import sys

from pipeline.cli.main import main

sys.exit(main())
