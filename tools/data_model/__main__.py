"""`python -m tools.data_model [FOLDER] [--vendor X_EXAMPLE-COM]`: writes the files of packaging/tr069."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tools.data_model import bbfdm, dm_xml

FOLDER = Path(__file__).parents[2] / "packaging" / "tr069"
VENDOR = "X_EXAMPLE-COM"


def files(vendor: str = VENDOR) -> dict[str, str]:
    """The texts by name."""
    made = {dm_xml.file_name(protocol): dm_xml.document(protocol, vendor) for protocol in dm_xml.PROTOCOLS}
    return {**made, bbfdm.PLUGIN: bbfdm.plugin(), bbfdm.SERVICE: bbfdm.service()}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.data_model", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--vendor", default=VENDOR, help="X_ and its OUI or domain (default: %(default)s)")
    read = parser.parse_args(arguments)
    # TR-106, section 3.3: six hexadecimal digits, or a domain with hyphens in place of dots; capitals.
    if not re.fullmatch(r"X_[A-Z0-9]+(-[A-Z0-9]+)*", read.vendor):
        parser.error(f"--vendor is {read.vendor}; allowed: X_ and an OUI or a domain in capitals, such as {VENDOR}")
    read.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(read.vendor).items():
        (read.folder / name).write_text(text)
        print(read.folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
