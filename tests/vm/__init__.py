"""Debian's kernel in a virtual machine. Emulated, it is slow: `make test` has a short share, `make vm` the whole."""

import os

WHOLE = os.environ.get("VM") == "all"
ONLY_WHOLE = "a boot of many minutes, in `make vm` (VM=all)"
