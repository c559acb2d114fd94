"""Makes the generated corpora importable as `corpora`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
