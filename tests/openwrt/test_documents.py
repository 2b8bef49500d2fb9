"""The ISP's signed documents and the service: what it starts from, at a boot, with bad UCI, and while one is tried."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from cpe_filter.cli import commands
from cpe_filter.collect import signing
from cpe_filter.policy.file import load
from cpe_filter.provision import effective, place
from cpe_filter.provision.folder import Folder
from tests.openwrt.package import STAND_IN, Message, Router, shell
from tests.openwrt.test_init import BAD, CLOSED, RULES, RUN, limits, run_alive, started
from tests.signed import making

URL = "https://policy.isp.example/it?a=*&b=$(x)"
FETCHES = f"config provision 'provision'\n\toption url '{URL}'\n\toption region 'north'\n"
OFF = "config provision 'provision'\n\toption enabled '0'\n"


@pytest.fixture
def router(router: Router) -> Router:
    router.config("cpe-filter", "")
    return router


def document(content: str, number: int = 7) -> bytes:
    now = int(time.time())
    header = signing.Header("policy", number, now - 60, now + 86400, ("*",))
    return making.key("isp").sign((signing.header(header) + content).encode())


def folder(router: Router) -> Folder:
    path = router.path("/etc/cpe-filter/provision/policy")
    path.mkdir(parents=True, exist_ok=True)
    return Folder(str(path))


def mode(router: Router) -> str:
    return load(str(router.path(f"{RUN}/policy.toml"))).filter.mode


def made_of(router: Router) -> str:
    """The digest of the policy with the documents over it, as the filter would read it now."""
    out = router.root / "out.toml"
    own, documents = (str(router.path(path)) for path in (f"{RUN}/own.toml", "/etc/cpe-filter/provision"))
    effective.write(place.Place(own, str(out), documents, ""))
    return commands._digest_of(str(out))


def reboot(router: Router) -> None:
    for path in router.path(RUN).iterdir():
        path.unlink()


def test_the_document_in_force_is_laid_over_ucis_policy(router: Router) -> None:
    before = started(router, limits(3))
    run_alive(router)
    assert mode(router) == "monitor"
    folder(router).confirm(document('[filter]\nmode = "limit"\nversion = "isp-7"\n'))
    told = router.init("reload")  # it is on flash: nothing else has changed
    assert [message.verb for message in told] == ["set", "signal"]
    assert told[0].instances["run"]["env"] == before["run"]["env"]
    policy = load(str(router.path(f"{RUN}/policy.toml")))
    assert (policy.filter.mode, policy.filter.version, policy.limits.messages_burst) == ("limit", "isp-7", 3)
    assert load(str(router.path(f"{RUN}/own.toml"))).filter.mode == "monitor"
    assert "mode is monitor" not in router.text(f"{RUN}/notes")
    assert router.init("reload") == []
    reboot(router)
    started(router, limits(4))
    assert mode(router) == "limit"


def test_a_boot_with_bad_uci_has_the_last_good_policy_with_the_document(router: Router) -> None:
    folder(router).confirm(document('[filter]\nmode = "limit"\n'))
    started(router, limits(3))
    reboot(router)
    started(router, BAD)
    policy = load(str(router.path(f"{RUN}/policy.toml")))
    assert (policy.filter.mode, policy.limits.messages_burst) == ("limit", 3)
    assert "the last good policy is" in router.log


def test_the_isps_file_has_it_too(router: Router) -> None:
    file = router.root / "isp.toml"
    file.write_text('[filter]\nversion = "file"\n[network]\nlan = ["br-lan"]\nwan = ["wan"]\n')
    folder(router).confirm(document('[filter]\nmode = "limit"\n'))
    started(router, f"config cpe-filter 'main'\n\toption policy_file '{file}'\n")
    policy = load(str(router.path(f"{RUN}/policy.toml")))
    assert (policy.filter.mode, policy.filter.version) == ("limit", "file")


def test_a_document_that_cannot_be_laid_over_any_more_is_left_out_and_said(router: Router) -> None:
    folder(router).confirm(document('[notice]\nhours = "0-24"\n[network]\nrelays = ["x"]\n'))
    assert "run" in started(router, limits(3))
    assert mode(router) == "monitor"
    assert router.text(f"{RUN}/notes").startswith("the ISP's policy is left out: ")
    assert router.log.count("the ISP's policy is left out") == 1
    run_alive(router)
    started(router, limits(4), "reload")
    assert router.log.count("the ISP's policy is left out") == 1


def test_uci_can_have_no_document_count(router: Router) -> None:
    folder(router).confirm(document('[filter]\nmode = "limit"\n'))
    assert "fetch" not in started(router, OFF + limits(3))
    assert mode(router) == "monitor"
    assert not router.path(f"{RUN}/own.toml").exists()


def test_a_router_without_the_package_is_as_before(router: Router) -> None:
    program = router.path("/usr/bin/cpe-filter")
    program.write_text(
        program.read_text().replace("main()\n", "commands._has_documents = lambda: False\nmain()\n").replace(
            "from cpe_filter.cli.main", "from cpe_filter.cli import commands\nfrom cpe_filter.cli.main"
        )
    )  # fmt: skip
    folder(router).confirm(document('[filter]\nmode = "limit"\n'))
    assert "fetch" not in started(router, FETCHES)
    assert mode(router) == "monitor"
    assert "provision.url: no signed document is fetched until the package" in router.text(f"{RUN}/notes")


# ── while one is tried ──────────────────────────────────────────────────────────────────────────────


def test_the_rules_of_a_boot_have_no_document_that_is_tried(router: Router) -> None:
    router.init("enable")
    started(router, CLOSED)
    before = router.text(RULES)
    run_alive(router)
    tried = document('[network]\nrelays = ["192.0.2.77"]\n[filter]\nmode = "block"\n')
    folder(router).begin(tried, place.boot(), place.uptime() + 60)
    router.init("reload")
    assert mode(router) == "block"
    assert router.text(RULES) == before
    folder(router).confirm(tried)
    router.init("reload")
    assert "192.0.2.77" in router.text(RULES)


def test_the_responder_comes_and_goes_with_the_document(router: Router) -> None:
    quiet = "config filter\n\toption refusal 'reset'\nconfig notice\n\toption show 'off'\n"
    assert "explain" not in started(router, quiet)
    run_alive(router)
    tried = document('[filter]\nrefusal = "explain"\nmode = "block"\n')
    folder(router).begin(tried, place.boot(), place.uptime() + 60)
    assert "explain" in router.init("reload")[0].instances
    folder(router).refuse(tried, "a test")
    assert "explain" not in router.init("reload")[0].instances
    assert mode(router) == "monitor"


def test_what_the_filter_has_read_already_is_not_read_again(router: Router) -> None:
    """`policy fetch` has the filter reload, and then calls the script: one reload is enough."""
    started(router, "")
    run_alive(router)
    for number, (wished, known, verbs) in enumerate(
        (("limit", "made", ["set"]), ("block", "another", ["set", "signal"]), ("monitor", "", ["set", "signal"]))
    ):
        folder(router).confirm(document(f'[filter]\nmode = "{wished}"\n', number))
        made = made_of(router)
        words = {"made": [made], "another": [made[::-1]]}.get(known, [])
        assert [one.verb for one in router.init("reload", *words)] == verbs
        assert router.text(f"{RUN}/service").count(f"policy {made}\n") == 1


def test_a_power_cut_during_a_trial_ends_in_the_policy_before(router: Router) -> None:
    folder(router).confirm(document('[filter]\nmode = "limit"\n'))
    folder(router).begin(document('[filter]\nmode = "block"\n', 8), "other-boot", 1e9)
    started(router, "")
    assert mode(router) == "limit"
    assert not folder(router).is_unfinished
    assert folder(router).bad() == {}  # it is tried once more


# ── what is fetched ─────────────────────────────────────────────────────────────────────────────────


def test_the_fetch_is_an_instance_of_its_own(router: Router) -> None:
    assert "fetch" not in started(router, "")
    fetch = started(router, FETCHES)["fetch"]
    program, words, every, first = fetch["command"]
    assert program == str(router.path("/usr/libexec/cpe-filter-repeat"))
    assert (words, every) == (str(router.path(f"{RUN}/fetch")), "86400")
    assert 0 <= int(first) < 3600
    lines = router.text(f"{RUN}/fetch").splitlines()
    assert lines[:3] == ["policy", "fetch", URL]
    assert f"--policy={router.path(f'{RUN}/own.toml')}" in lines
    assert "--region=north" in lines
    assert fetch["file"] == [program, str(router.path(f"{RUN}/fetch"))]
    router.path("/usr/libexec/cpe-filter-repeat").unlink()
    assert "fetch" not in started(router, FETCHES)


@pytest.mark.parametrize("more", [BAD, "config filter\nconfig filter\n"])
def test_with_bad_uci_elsewhere_documents_are_still_fetched(router: Router, more: str) -> None:
    started(router, FETCHES)
    run_alive(router)
    assert "fetch" in started(router, FETCHES + more, "reload")


def test_the_program_gets_what_was_configured_and_no_shell_reads_it(router: Router, tmp_path: Path) -> None:
    started(router, FETCHES)
    said = tmp_path / "said"
    router.path("/usr/bin/cpe-filter").write_text(f'#!/bin/sh\nfor w; do echo "<$w>"; done >{said}\necho in force\n')
    (router.bin / "sleep").unlink()
    router._script("sleep", "kill $PPID; kill $$")
    script = router.path("/usr/libexec/cpe-filter-repeat")
    router.ash(script, router.path(f"{RUN}/fetch"), "86400", "0")
    assert said.read_text().startswith(f"<policy>\n<fetch>\n<{URL}>\n<--policy=")
    assert router.log.endswith("<5>in force\n")


def test_the_service_follows_a_command(router: Router) -> None:
    """`--service` starts the script itself: what the next start of anything reads is of the policy that counts."""
    ours = folder(router)
    for number, wished in ((7, "limit"), (8, "block")):
        ours.confirm(document(f'[filter]\nmode = "{wished}"\nrefusal = "reset"\n[notice]\nshow = "off"\n', number))
    assert "explain" not in started(router, "config notice\n\toption show 'device'\n")
    run_alive(router)
    script = router.root / "service"
    words = shell(router.bin, STAND_IN / "rc.common", router.path("/etc/init.d/cpe-filter"))
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)
    command = router.root / "command.sh"
    places = f"--policy={router.path(f'{RUN}/own.toml')} --out={router.path(f'{RUN}/policy.toml')}"
    places += f" --folder={router.path('/etc/cpe-filter/provision')} --socket={router.root}/none --service={script}"
    command.write_text(f"exec {router.path('/usr/bin/cpe-filter')} policy rollback {places}\n")
    done = router.ash(command)
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)  # no filter is there to reload
    assert mode(router) == "limit"
    (message, signal) = [Message(path.read_bytes()) for path in sorted((router.stand_in / "messages").iterdir())]
    assert (message.verb, signal.about) == ("set", ["cpe-filter", "run", "HUP"])
    reboot(router)
    started(router, "")
    assert mode(router) == "limit"
