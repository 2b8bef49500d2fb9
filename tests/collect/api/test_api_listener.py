"""The API's own listener in a real collector: TLS, its keys in the configuration, apart from the page."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.config.file import ConfigError, build
from tests.collect.ca import Authority
from tests.collect.reports import body, incident
from tests.collect.running import Collector
from tests.collect.web.site import HASH
from tests.lab.net import DEADLINE_S, PROJECT
from tests.ports import free_port

LISTEN = {"certificate": "/c", "key": "/k", "client_ca": "/a"}


def test_there_is_no_api_by_default() -> None:
    assert build({"listen": LISTEN}, "f.toml").api.address == ""


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"address": "[::]:8081"}, "[api] address is reachable from other machines; set certificate and key"),
        ({"address": "0.0.0.0:8081"}, "[api] address is reachable from other machines"),
        ({"certificate": "/c"}, "[api] certificate and key go together; one is missing"),
        ({"address": "localhost:1"}, "[api] address is"),
        ({"requests_burst": 0}, "[api] requests_burst is 0; allowed: a whole number from 1"),
        ({"tokens": []}, '[api] unknown key "tokens"'),
    ],
)
def test_bad_keys(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as error:
        build({"listen": LISTEN, "api": {"address": "127.0.0.1:8081", **keys}}, "f.toml")
    assert why in str(error.value)


def test_from_a_report_to_a_closed_case(tmp_path: Path) -> None:
    """Over TLS, beside a page, in one process; neither authorises for the other."""
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    port, page_port = free_port(), free_port()
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    people = tmp_path / "map.csv"
    people.write_text("router,subscriber\ncpe-1,S-1\n")
    collector = Collector(
        tmp_path / "c",
        authority,
        api={"address": f"127.0.0.1:{port}", **tls},
        page={"address": f"127.0.0.1:{page_port}", "users": [f"anna:desk:{HASH}"], **tls},
        subscribers={"file": str(people)},
        cases={"every_s": 1},
    )
    with collector:
        made = subprocess.run(
            [*collector.command("token"), "create", "crm", "--role", "desk", "--expires", "1"],
            cwd=PROJECT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        token = made.stdout.strip()
        context = ssl.create_default_context(cafile=str(authority.certificate))

        def ask(at: int, method: str, path: str, value: Any = None, **headers: str) -> tuple[int, Any, Any]:
            connection = http.client.HTTPSConnection("localhost", at, timeout=DEADLINE_S, context=context)
            named = {"Authorization": f"Bearer {token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
            if value is not None:
                named["Content-Type"] = "application/json"
            connection.request(method, path, None if value is None else json.dumps(value), named)
            response = connection.getresponse()
            data = response.read()
            connection.close()
            kind = response.headers.get_content_type()
            return response.status, response.headers, json.loads(data) if kind.endswith("json") else data

        assert collector.post(authority.router("cpe-1"), body(incident(1, kind="raised"))).status == 200
        cases: list[Any] = []
        for _ in range(int(DEADLINE_S) * 20):
            status, _, found = ask(port, "GET", "/api/v1/cases")
            assert status == 200
            cases = found["cases"]
            if cases:
                break
            time.sleep(0.05)
        assert cases[0]["subscriber"] == "S-1"
        path = f"/api/v1/cases/{cases[0]['id']}"
        _, headers, _ = ask(port, "GET", path)
        assert headers["Strict-Transport-Security"]
        status, _, closed = ask(
            port, "POST", f"{path}/close", {"outcome": "confirmed"}, If_Match=headers["ETag"], Idempotency_Key="1"
        )
        assert (status, closed["state"]) == (200, "closed")
        assert ask(port, "GET", "/")[0] == 404
        assert ask(page_port, "GET", "/cases")[0] == 303  # to the login
        assert ask(page_port, "GET", "/api/v1/cases")[0] == 404
        assert collector.metrics()['cpe_collector_api_responses_total{status="200"}'] >= 3
    logged = collector.log.read_text()
    assert token not in logged
    assert '"operation": "closeCase", "token": "crm"' in logged
