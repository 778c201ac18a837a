"""`python -m sluice.client HOME RUN FOLDER`: see `background`."""

import sys

from sluice.client.background import main

sys.exit(main(*sys.argv[1:]))
