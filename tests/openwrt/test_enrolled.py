"""The router's certificate and the service: the instance that gets it, by UCI's section `enrol`."""

from __future__ import annotations

import pytest

from tests.openwrt.package import Router
from tests.openwrt.test_init import BAD, RUN, run_alive, started

URL = "https://collector.isp.example:8444"
ENROLS = f"config enrol 'enrol'\n\toption url '{URL}'\n\toption id 'cpe-1'\n\toption factory_key '/etc/k $(id)'\n"


@pytest.fixture
def router(router: Router) -> Router:
    router.config("cpe-filter", "")
    return router


def test_it_is_an_instance_of_its_own(router: Router) -> None:
    assert "enrol" not in started(router, "")
    instances = started(router, ENROLS)
    assert "fetch" not in instances
    program, words, every, first = instances["enrol"]["command"]
    assert program == str(router.path("/usr/libexec/cpe-filter-repeat"))
    assert (words, every) == (str(router.path(f"{RUN}/enrol")), "21600")
    assert 0 <= int(first) < 3600
    assert router.text(f"{RUN}/enrol").splitlines() == [
        *("enrol", f"--policy={router.path(f'{RUN}/policy.toml')}", f"--url={URL}", "--id=cpe-1"),
        "--factory-key=/etc/k $(id)",
    ]
    assert instances["enrol"]["file"] == [program, words]


def test_another_server_starts_it_anew_and_none_ends_it(router: Router) -> None:
    started(router, ENROLS)
    run_alive(router)
    assert "enrol" in started(router, ENROLS.replace("8444", "8445"), "reload")
    assert f"--url={URL[:-1]}5" in router.text(f"{RUN}/enrol")
    assert "enrol" not in started(router, f"{ENROLS}\toption enabled '0'\n", "reload")


def test_with_bad_uci_elsewhere_it_goes_on_and_a_mistake_of_its_own_is_named(router: Router) -> None:
    started(router, ENROLS)
    run_alive(router)
    assert "enrol" in started(router, ENROLS + BAD, "reload")
    assert "enrol" not in started(router, ENROLS.replace("https:", "http:"), "reload")
    assert 'cpe-filter.enrol.url is "http://collector.isp.example:8444"; allowed: https://HOST' in router.log


def test_a_second_section_is_refused(router: Router) -> None:
    started(router, ENROLS + ENROLS.replace("'enrol'\n", "'two'\n"))
    assert "cpe-filter.two: a second section of type enrol; one is expected" in router.log


def test_without_the_package_it_is_said(router: Router) -> None:
    program = router.path("/usr/bin/cpe-filter")
    program.write_text(
        program.read_text().replace("main()\n", "commands._has_documents = lambda: False\nmain()\n").replace(
            "from cpe_filter.cli.main", "from cpe_filter.cli import commands\nfrom cpe_filter.cli.main"
        )
    )  # fmt: skip
    assert "enrol" not in started(router, ENROLS)
    assert "enrol.url: no certificate is got until the package cpe-filter-report is" in router.text(f"{RUN}/notes")
