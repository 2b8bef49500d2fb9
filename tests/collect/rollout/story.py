"""A rollout of which every kind of outcome is known."""

from __future__ import annotations

import re
import time
from pathlib import Path

from cpe_filter.collect.rollout.spread import Terms
from cpe_filter.collect.store.base import Store
from tests.collect.publisher import MILD, STRICT, Isp
from tests.collect.reports import NOW
from tests.collect.store.test_sql_documents import docs, document, sent


async def story(store: Store, tmp_path: Path) -> tuple[Isp, Terms]:
    """Policy 1 on all, 2 at 500 of 1000: of 40 routers 10 applied it, 5 took it back, 2 refused it because they are too
    old, one because of what it says, and one has it by its heartbeat."""
    isp = Isp(tmp_path)
    isp.publish(MILD)
    isp.publish(STRICT, 500)
    index = isp.web / "index.json"
    published = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - 1000))
    index.write_text(re.sub('"published": ".*"', f'"published": "{published}"', index.read_text()))
    one, two = (entry["digest"] for entry in isp.channel["documents"])
    for n in range(40):
        events = [document(1, 100, doc=one, number=1)]
        if n < 10:
            events.append(document(2, 500, doc=two, number=2))
        elif n < 15:
            events.append(document(2, 500, "taken-back", two, 2, why="relay"))
        elif n < 17:
            events.append(document(2, 500, "refused", two, 2, why="agent"))
        elif n == 17:
            events.append(docs(2, 900, ("policy", two, 2)))
        elif n == 18:
            events.append(document(2, 500, "refused", two, 2, why="content"))
        await store.add([sent(*events, router=f"cpe-{n:02}")])
    return isp, Terms(str(isp.web), 2)
