"""The alerts by promtool, on series that should and should not cause them; metrics and labels are those of /metrics."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.collect.metrics import Metrics
from tests.conftest import LIVE_REQUIRED
from tests.lab.net import PROJECT
from tests.packaging.programs import promtool

RULES = PROJECT / "packaging" / "prometheus" / "cpe-collector.rules.yml"
DASHBOARD = PROJECT / "packaging" / "grafana" / "cpe-collector.json"
#: Labels that Prometheus itself or a rule adds.
_ADDED = {"job", "instance", "le"}


def exported() -> dict[str, set[str]]:
    """Name in a query -> its labels, of all that /metrics can have."""
    found: dict[str, set[str]] = {"up": set()}
    for collector in Metrics().registry._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
            found |= {f"{family.name}{end}": labels for end in ends}
    return found


def expressions_of_rules() -> list[str]:
    return re.findall(r"^ +expr: (.*)$", RULES.read_text(), re.MULTILINE)


def panels() -> Iterator[dict[str, Any]]:
    yield from json.loads(DASHBOARD.read_text())["panels"]


def expressions_of_the_dashboard() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def check(expression: str) -> None:
    """Names and labels of an expression are there."""
    known = exported()
    recorded = set(re.findall(r"^ +- record: (\S+)$", RULES.read_text(), re.MULTILINE))
    names = re.findall(r"\b(up|cpe_collector[a-z0-9_:]*)\b(?=[\[{ )/]|$)", expression)
    assert names, expression
    for name in names:
        assert name in known or name in recorded, f"{name} is not exported"
    labels: set[str] = set().union(*(known.get(name, {"status"}) for name in names), _ADDED)
    used = {label for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(", ")}
    used |= {
        label for part in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)(?:=~|!~|!=|=)", part)
    }
    assert used <= labels, f"{used - labels} in {expression}"


@pytest.mark.parametrize("expression", expressions_of_rules())
def test_a_rule_reads_what_is_exported(expression: str) -> None:
    check(expression)


@pytest.mark.parametrize("expression", expressions_of_the_dashboard())
def test_a_panel_reads_what_is_exported(expression: str) -> None:
    check(expression)


def test_a_name_that_is_not_exported_is_found() -> None:
    with pytest.raises(AssertionError, match="is not exported"):
        check("cpe_collector_nonsense_total")
    with pytest.raises(AssertionError, match="reasons"):
        check("sum by (reasons) (cpe_collector_refused_total)")


def test_every_metric_of_a_service_is_on_the_dashboard() -> None:
    """Counters that only a person who looks for a fault reads are left out."""
    left_out = {"retention_rows", "queue_poison", "cases_built", "crl_entries", "crl_failed"}
    shown = " ".join([*expressions_of_the_dashboard()])
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in exported() if name != "up"}
    missing = {name.removeprefix("cpe_collector_") for name in families if name not in shown}
    assert missing <= left_out, missing


def test_the_dashboard_is_laid_out() -> None:
    """Ids are unique, panels do not overlap and have a data source that can be chosen."""
    taken: set[tuple[int, int]] = set()
    seen: set[int] = set()
    for panel in panels():
        assert panel["id"] not in seen
        seen.add(panel["id"])
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.fixture
def tool() -> str:
    found = promtool()
    if not found and LIVE_REQUIRED:
        pytest.fail("no promtool: python -m tests.packaging.programs")
    if not found:
        pytest.skip("no promtool (Debian: prometheus)")
    return found


def test_promtool_accepts_the_rules(tool: str) -> None:
    done = subprocess.run([tool, "check", "rules", "--lint-fatal", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


#: Alert, series (name, values in promtool's notation, every minute), when, and whether it fires.
CASES = [
    ("CpeCollectorDown", {'up{job="cpe-collector"}': "1x5 0x20"}, "20m", True),
    ("CpeCollectorDown", {'up{job="cpe-collector"}': "1x5 0x3 1x20"}, "20m", False),
    ("CpeCollectorDown", {'up{job="other"}': "0x30"}, "20m", False),
    ("CpeCollectorStoreUnavailable", {'cpe_collector_requests_total{status="200"}': "0+60x30",
                                      'cpe_collector_requests_total{status="503"}': "0+6x30"}, "25m", True),
    ("CpeCollectorStoreUnavailable", {'cpe_collector_requests_total{status="200"}': "0+6000x30",
                                      'cpe_collector_requests_total{status="503"}': "0+6x30"}, "25m", False),
    ("CpeCollectorBacklog", {"cpe_collector_waiting": "0x5 2000x20"}, "20m", True),
    ("CpeCollectorBacklog", {"cpe_collector_waiting": "900x30"}, "20m", False),
    ("CpeCollectorStoreSlow", {'cpe_collector_commit_seconds_bucket{le="2.5"}': "0+1x60",
                               'cpe_collector_commit_seconds_bucket{le="5"}': "0+100x60",
                               'cpe_collector_commit_seconds_bucket{le="+Inf"}': "0+100x60"}, "50m", True),
    ("CpeCollectorStoreSlow", {'cpe_collector_commit_seconds_bucket{le="0.5"}': "0+100x60",
                               'cpe_collector_commit_seconds_bucket{le="+Inf"}': "0+100x60"}, "50m", False),
    ("CpeCollectorNoReports", {"cpe_collector_reports_total": "0+1x10 10x500"}, "480m", True),
    ("CpeCollectorNoReports", {"cpe_collector_reports_total": "0+1x500"}, "480m", False),
    ("CpeCollectorConnectionsNearLimit", {"cpe_collector_connections": "9000x30"}, "20m", True),
    ("CpeCollectorRefusing", {'cpe_collector_refused_total{reason="rate"}': "0+600x90"}, "60m", True),
    ("CpeCollectorRefusing", {'cpe_collector_refused_total{reason="rate"}': "0+60x90"}, "60m", False),
    ("CpeCollectorRevocationListExpires", {"cpe_collector_crl_next_update_seconds": "90000x200"}, "180m", True),
    ("CpeCollectorRevocationListExpires", {"cpe_collector_crl_next_update_seconds": "900000x200"}, "120m", False),
    ("CpeCollectorRevocationListExpires", {"cpe_collector_crl_next_update_seconds": "0x200"}, "120m", False),
    ("CpeCollectorRevocationListUnusable", {"cpe_collector_crl_failed": "1x30"}, "20m", True),
    ("CpeCollectorCertificateExpires", {'cpe_collector_certificate_ends_seconds{file="listen"}': "1000000x200"},
     "120m", True),
    ("CpeCollectorCertificateExpires", {'cpe_collector_certificate_ends_seconds{file="listen"}': "2000000x200"},
     "120m", False),
    ("CpeCollectorCertificateExpires", {'cpe_collector_certificate_ends_seconds{file="listen"}': "60000x200"},
     "120m", False),
    ("CpeCollectorCertificateExpired", {'cpe_collector_certificate_ends_seconds{file="client_ca"}': "60000x200"},
     "10m", True),
    ("CpeCollectorCertificateExpired", {'cpe_collector_certificate_ends_seconds{file="client_ca"}': "3600x200"},
     "120m", True),
    ("CpeCollectorCertificateExpired", {'cpe_collector_certificate_ends_seconds{file="page"}': "1000000x200"},
     "120m", False),
    ("CpeCollectorRoutersNotRenewed", {'cpe_collector_router_certificates{state="late"}': "300x500",
                                       'cpe_collector_router_certificates{state="valid"}': "9000x500"}, "400m", True),
    ("CpeCollectorRoutersNotRenewed", {'cpe_collector_router_certificates{state="late"}': "100x500",
                                       'cpe_collector_router_certificates{state="valid"}': "9000x500"}, "400m", False),
    ("CpeCollectorRoutersNotRenewed", {'cpe_collector_router_certificates{state="late"}': "5x500",
                                       'cpe_collector_router_certificates{state="valid"}': "20x500"}, "400m", False),
    ("CpeCollectorEnrolmentFails", {'cpe_collector_enrolments_total{outcome="failed"}': "0x5 1+1x60"}, "40m", True),
    ("CpeCollectorEnrolmentFails", {'cpe_collector_enrolments_total{outcome="failed"}': "0x5 1x60"}, "60m", False),
    ("CpeCollectorEnrolmentFails", {'cpe_collector_enrolments_total{outcome="refused"}': "0+1x60"}, "40m", False),
    ("CpeCollectorMapUnusable", {"cpe_collector_subscribers_failed": "1x60"}, "40m", True),
    ("CpeCollectorUnmappedRouters", {"cpe_collector_unmapped_routers": "3x1600"}, "1500m", True),
    ("CpeCollectorNotificationsGivenUp", {'cpe_collector_webhook_total{outcome="dead"}': "0x10 1x60"}, "30m", True),
    ("CpeCollectorNotificationsFail", {'cpe_collector_webhook_total{outcome="failed"}': "0+1x90"}, "80m", True),
    ("CpeCollectorNotificationsFail", {'cpe_collector_webhook_total{outcome="failed"}': "0+1x90",
                                       'cpe_collector_webhook_total{outcome="delivered"}': "0+1x90"}, "80m", False),
    ("CpeCollectorMailFails", {'cpe_collector_mail_total{outcome="failed"}': "0+1x200",
                               'cpe_collector_mail_total{outcome="sent"}': "0+2x200"}, "180m", True),
    ("CpeCollectorMailFails", {'cpe_collector_mail_total{outcome="failed"}': "0+1x200",
                               'cpe_collector_mail_total{outcome="sent"}': "0+20x200"}, "180m", False),
    ("CpeCollectorDocumentHalt", {'cpe_collector_document_halt_advised{channel="routers"}': "0x5 1x20"}, "10m", True),
    ("CpeCollectorDocumentHalt", {'cpe_collector_document_halt_advised{channel="routers"}': "1x5 0x20"}, "10m", False),
    ("CpeCollectorDocumentsRefused", {'cpe_collector_document_reports{type="policy",result="refused"}': "20x60",
                                      'cpe_collector_document_reports{type="policy",result="applied"}': "90x60"},
     "40m", True),
    ("CpeCollectorDocumentsRefused", {'cpe_collector_document_reports{type="policy",result="refused"}': "10x60",
                                      'cpe_collector_document_reports{type="policy",result="taken-back"}': "10x60",
                                      'cpe_collector_document_reports{type="policy",result="applied"}': "90x60"},
     "40m", True),
    ("CpeCollectorDocumentsRefused", {'cpe_collector_document_reports{type="policy",result="refused"}': "9x60",
                                      'cpe_collector_document_reports{type="policy",result="applied"}': "0x60"},
     "40m", False),
    ("CpeCollectorDocumentsRefused", {'cpe_collector_document_reports{type="policy",result="refused"}': "20x60",
                                      'cpe_collector_document_reports{type="policy",result="applied"}': "900x60"},
     "40m", False),
    ("CpeCollectorQueuePoison", {"cpe_collector_queue_poison_total": "0x10 1x60"}, "30m", True),
    ("CpeCollectorLoginsGuessed", {'cpe_collector_page_logins_total{outcome="failed"}': "0+3x60",
                                   'cpe_collector_page_logins_total{outcome="slowed"}': "0+3x60"}, "30m", True),
    ("CpeCollectorLoginsGuessed", {'cpe_collector_page_logins_total{outcome="good"}': "0+30x60"}, "30m", False),
    ("CpeCollectorManyNewCases", {'cpe_collector_cases{state="open"}': "10x1500 60x100"}, "1560m", True),
    ("CpeCollectorManyNewCases", {'cpe_collector_cases{state="open"}': "50x1500 60x100"}, "1560m", False),
]  # fmt: skip


def test_each_alert_fires_when_it_should(tool: str, tmp_path: Path) -> None:
    """One run of promtool for all: it tells which test failed."""
    alerts = set(re.findall(r"^ +- alert: (\S+)$", RULES.read_text(), re.MULTILINE))
    assert {alert for alert, _, _, fires in CASES if fires} == alerts, "each has a case in which it fires"
    tests = []
    for alert, series, when, fires in CASES:
        given = [{"series": with_labels(name), "values": values} for name, values in series.items()]
        # Whether it fires counts; texts and labels are those of the rules.
        query = {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)', "eval_time": when}
        wanted = {**query, "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        tests.append(
            {"name": f"{alert} {fires}", "interval": "1m", "input_series": given, "promql_expr_test": [wanted]}
        )
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([tool, "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def with_labels(name: str) -> str:
    if "job=" in name:
        return name
    labels = 'job="cpe-collector",instance="a:9464"'
    return name.replace("{", f"{{{labels},") if "{" in name else f"{name}{{{labels}}}"
