"""Lets the tests of this folder import ``inside``, which they share with those of ``web``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
