"""The part of jshn that parses and prints, for luci_jshn.sh: `load TEXT` prints shell, `dump COUNT` JSON.

Prints as json-c does: `{ "a": "b" }`, `{ }`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from typing import Any


def load(text: str) -> int:
    """One call of `_jshn_set` for each member; what is no object is told on stderr."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        print("Failed to parse message data", file=sys.stderr)
        return 1
    print("json_init")
    for key, value in content.items():
        name = re.sub(r"[^0-9A-Za-z]", "_", key.split("\0")[0])
        if name:
            print(f"_jshn_set {name} {_kind(value)} {_quoted(value)}")
    return 0


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "int"), (float, "double"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return shlex.quote(value.split("\0")[0].encode("utf-8", "replace").decode())
    return str(int(value)) if isinstance(value, int) else "''"


def dump(count: int) -> int:
    """What was added, from the environment."""
    root: dict[str, Any] = {}
    within = [root]
    for number in range(1, count + 1):
        kind, name, value = os.environ[f"_jshn_O_{number}"].split(":", 2)
        if kind == "close":
            within.pop()
        elif kind == "object":
            within[-1][name] = {}
            within.append(within[-1][name])
        else:
            within[-1][name] = _told(kind, value)
    print(_spaced(root))
    return 0


def _told(kind: str, value: str) -> Any:
    if kind == "boolean":
        return value not in ("", "0")
    return int(value) if kind == "int" else value


def _spaced(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = ", ".join(f"{json.dumps(key)}: {_spaced(item)}" for key, item in value.items())
    return f"{{ {inner} }}" if inner else "{ }"


if __name__ == "__main__":
    sys.exit(load(sys.argv[2]) if sys.argv[1] == "load" else dump(int(sys.argv[2])))
