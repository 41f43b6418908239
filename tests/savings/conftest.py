"""The whole gateway in the tests' own process: ``inside``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
