"""`reread` and `python -m reread`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exit 0, 1 (failed on the way) or 2 (misused)."""
    try:
        from reread.cli import run
    except KeyboardInterrupt:
        sys.exit(1)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
