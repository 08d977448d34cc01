"""`python -m load.simulator`."""

import sys

from load.simulator.cli import main

sys.exit(main())
