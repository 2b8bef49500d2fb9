"""A rollout that fails, from routers' reports over HTTPS to metrics, page and the halt by a timer; real processes."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any

from tests.collect.ca import Authority
from tests.collect.publisher import MILD, STRICT, Isp
from tests.collect.reports import body, heartbeat
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S
from tests.ports import free_port

ROUTERS = 8


def page(collector: Collector, path: str) -> str:
    host, port = "127.0.0.1", int(collector.tables["page"]["address"].rpartition(":")[2])
    connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path, headers={"x-remote-user": "anna"})
        response = connection.getresponse()
        assert response.status == 200, path
        return response.read().decode()
    finally:
        connection.close()


def advised(collector: Collector) -> float | None:
    return collector.metrics().get('cpe_collector_document_halt_advised{channel="routers"}')


def wait_for_advice(collector: Collector) -> None:
    """Figures for /metrics are computed every half minute."""
    end = time.monotonic() + 35 + DEADLINE_S
    while advised(collector) != 1:
        assert time.monotonic() < end, collector.metrics()
        time.sleep(0.5)


def test_from_reports_to_the_halt(tmp_path: Path) -> None:
    isp = Isp(tmp_path)
    assert isp.publish(MILD) == isp.publish(STRICT, 500) == 0
    one, two = (entry["digest"] for entry in isp.channel["documents"])
    authority = Authority(tmp_path / "ca")
    tables: dict[str, dict[str, Any]] = {
        "page": {"address": f"127.0.0.1:{free_port()}", "login": "proxy"},
        "provision": {"published": str(isp.web)},
    }
    with Collector(tmp_path / "collector", authority, "run", **tables) as collector:
        assert advised(collector) in (None, 0)
        pairs = [authority.router(f"cpe-{n}") for n in range(ROUTERS)]
        for n, pair in enumerate(pairs):
            events = [_event(1, 10, "applied", one, 1), heartbeat(2, docs=[_doc(one, 1)])]
            if n < 4:
                events.append(_event(3, 900, "taken-back", two, 2, why="relay"))
            elif n == 4:
                events += [_event(3, 900, "applied", two, 2), heartbeat(4, docs=[_doc(two, 2)])]
            elif n == 5:  # it does not have the key: it knows neither type nor number
                events.append({"seq": 3, "up": 900, "kind": "document", "doc": two, "result": "refused", "why": "key"})
            answer = collector.post(pair, body(*events))
            assert (answer.status, answer.body.get("rejected", [])) == (200, []), answer
        wait_for_advice(collector)
        metrics = collector.metrics()
        found = {
            result: metrics[f'cpe_collector_document_routers{{channel="routers",result="{result}"}}']
            for result in ("in-force", "applied", "taken-back", "refused")
        }
        assert found == {"in-force": 1, "applied": 1, "taken-back": 4, "refused": 1}
        text = page(collector, "/rollout")
        assert "5 of 6 routers that answered took it back or refused it" in text
        assert f"cpe-filter policy halt --published {isp.web} --channel routers --key KEY" in text
        listed = page(collector, f"/rollout/routers?type=policy&doc={two}&result=refused&why=key")
        assert "cpe-5" in listed
        # The timer of who has the key.
        config = str(collector.config)
        assert isp.do("halt", "--if-advised", "--config", config) == 0
        assert isp.do("halt", "--if-advised", "--config", config) == 1
        three = isp.channel["documents"][-1]["digest"]
        time.sleep(6)  # figures are kept for 5 s
        assert "It halts <bdi>policy</bdi> 2. 1 router still has that." in page(collector, "/rollout")
        events = [_event(5, 950, "applied", three, 3), heartbeat(6, docs=[_doc(three, 3)])]
        assert collector.post(pairs[4], body(*events)).status == 200
        time.sleep(6)
        assert "It halts <bdi>policy</bdi> 2. 0 routers still have that." in page(collector, "/rollout")
    assert not [line for line in collector.lines() if line.get("level") == "error"], json.dumps(collector.lines())


def _event(seq: int, up: int, result: str, doc: str, number: int, **more: str) -> dict[str, Any]:
    return {"seq": seq, "up": up, "kind": "document", "type": "policy", "doc": doc, "number": number, "result": result,
            **more}  # fmt: skip


def _doc(doc: str, number: int) -> dict[str, Any]:
    return {"type": "policy", "doc": doc, "number": number}
