"""The live filter, and a line for each turnaround: `python -m tests.lab.turnaround.noting FILE run --policy P`."""

from __future__ import annotations

import sys

from cpe_filter.cli.main import main
from tests.lab.turnaround.measure import noted

if __name__ == "__main__":
    with open(sys.argv[1], "a", buffering=1) as file, noted(lambda *words: print(*words, file=file)):
        sys.exit(main(sys.argv[2:]))
