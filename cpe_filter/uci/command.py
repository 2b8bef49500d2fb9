"""`cpe-filter uci policy|prepare|migrate`.

Knows which module does what. Must not know how. What `prepare` and `migrate` say is for the service's log.
"""

from __future__ import annotations

import sys

from cpe_filter.inputs import printable
from cpe_filter.lean.log import log
from cpe_filter.outcome import EXIT_OK


def run(what: str) -> int:
    """Does it; returns the exit code. Raises `UciError` and OSError."""
    if what == "policy":
        from cpe_filter.uci import making

        sources = making.read_sources({})
        made = making.make(sources, making.configured(sources))
        for note in made.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        print(made.text.decode("utf-8", "replace"), end="")
        return EXIT_OK
    if what == "migrate":
        from cpe_filter.uci import migrate

        lines = migrate.run()
    else:
        from cpe_filter.uci import prepare

        lines = prepare.run()
    for line in lines:
        log(line)
    return EXIT_OK
