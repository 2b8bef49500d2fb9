"""`cpe-filter uci policy|prepare|migrate`.

Knows which module does what. Must not know how. What `prepare` and `migrate` say is for the service's log.
"""

from __future__ import annotations

import sys

from cpe_filter.inputs import printable
from cpe_filter.lean.log import log
from cpe_filter.outcome import EXIT_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.uci.prepare import Documents


def run(what: str, documents: Documents | None = None) -> int:
    """Does it; returns the exit code. documents: lays those of the ISP over a policy. Raises `UciError` and OSError."""
    if what == "policy":
        from cpe_filter.uci import making

        sources = making.read_sources({})
        made = making.make(sources, making.configured(sources))
        for note in (*made.notes, *made.hints()):
            print(f"note: {printable(note)}", file=sys.stderr)
        print(made.text.decode("utf-8", "replace"), end="")
        return EXIT_OK
    if what == "migrate":
        from cpe_filter.uci import migrate

        lines = migrate.run()
    else:
        from cpe_filter.uci import prepare

        lines = prepare.run(documents)
    for line in lines:
        log(line)
    return EXIT_OK
