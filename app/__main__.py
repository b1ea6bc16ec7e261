"""`python -m binopose.app` does what the command `binopose` does."""

import sys

from .main import main

sys.exit(main())
