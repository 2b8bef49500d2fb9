"""The init script under busybox's shell: its calls of procd, when it waits, and the fate of rules and old policies.

procd itself is not here (tests/vm/test_service.py has one that starts the instances).
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import sys
import time
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from cpe_filter.home.translators import looked_up
from cpe_filter.policy.file import load
from tests.lab.net import DEADLINE_S
from tests.openwrt import ipk
from tests.openwrt.package import FILES, INSTALL, Router

RUN = "/var/run/cpe-filter"
RULES = "/usr/share/nftables.d/ruleset-post/20-cpe-filter.nft"
LAST = "/etc/cpe-filter/policy.last.toml"
CLOSED = "config filter 'filter'\n\toption fail 'closed'\n"
BAD = "config limits 'limits'\n\toption messages_burst '0'\n"
REPORTS = "config report 'report'\n\toption url 'https://isp.example'\n"


def limits(messages: int) -> str:
    return f"config limits 'limits'\n\toption messages_burst '{messages}'\n"


@pytest.fixture
def router(router: Router) -> Router:
    router.config("cpe-filter", "")
    return router


def started(router: Router, config: str, action: str = "start") -> dict[str, dict[str, list[str]]]:
    """The instances that procd is told of."""
    router.config("cpe-filter", config)
    message = router.init(action)[0]
    assert message.verb == "set"
    assert message.about == ["cpe-filter"]
    return message.instances


def run_alive(router: Router, pid: str = "1") -> None:
    """procd has started `run`: a process that is there."""
    router.path(f"{RUN}/run.pid").write_text(pid)


# ── what runs ───────────────────────────────────────────────────────────────────────────────────────


def test_the_instances(router: Router) -> None:
    shipped = (FILES / "cpe-filter.config").read_text()
    instances = started(router, shipped)
    program, policy = str(router.path("/usr/bin/cpe-filter")), str(router.path(f"{RUN}/policy.toml"))
    assert list(instances) == ["run", "explain"]
    assert instances["run"]["command"] == [sys.executable, program, "run", "--policy", policy]
    assert instances["explain"]["command"] == [program, "explain", "--policy", policy]
    assert instances["run"]["respawn"] == ["3600", "5", "0"]
    assert all(instance["stderr"] == ["1"] for instance in instances.values())
    assert load(policy).filter.mode == "monitor"
    assert load(policy).network.wan == ("wan",)


@pytest.mark.parametrize(
    ("mode", "escalate", "refusal", "there"),
    [
        ("block", "0", "explain", True),
        ("monitor", "1", "explain", True),
        ("limit", "0", "explain", False),
        ("block", "1", "reset", False),
    ],
)
def test_the_responder_runs_where_the_policy_can_block(
    router: Router, mode: str, escalate: str, refusal: str, there: bool
) -> None:
    config = f"config filter\n\toption mode {mode}\n\toption escalate {escalate}\n\toption refusal {refusal}\n"
    assert "explain" in started(router, config)  # it serves the notice
    config += "config notice\n\toption show off\n"
    assert ("explain" in started(router, config)) is there


def test_the_sender_runs_where_reports_are_made_and_it_is_installed(router: Router) -> None:
    assert "send" not in started(router, "")
    instances = started(router, REPORTS)
    command = instances["send"]["command"]
    assert command[0] == str(router.path("/usr/libexec/cpe-filter-send"))
    assert command[2] == "/var/run/cpe-filter/report/spool"
    assert instances["send"]["file"] == [command[0]]
    router.path("/usr/libexec/cpe-filter-send").unlink()
    assert "send" not in started(router, REPORTS)


def test_a_disabled_service_runs_nothing(router: Router) -> None:
    off = "config cpe-filter 'main'\n\toption enabled '0'\n"
    assert started(router, off) == {}
    started(router, limits(3))
    for wrong in ("\toption enable '1'\n", "config filter\nconfig filter\n"):
        assert started(router, off + wrong, "reload") == {}


def test_the_isps_file_in_place_of_uci(router: Router) -> None:
    file = router.root / "isp policy.toml"
    file.write_text('[filter]\nversion = "isp-7"\n[network]\nlan = ["br-lan"]\nwan = ["wan"]\n')
    router.config("cpe-filter", f"config cpe-filter 'main'\n\toption policy_file '{file}'\n" + limits(3))
    (message,) = router.init("start")
    assert load(str(router.path(f"{RUN}/policy.toml"))).filter.version == "isp-7"
    # It names devices, and netifd tells of networks: each of these counts.
    wanted = ["add_raw_trigger", "interface.*", "2000", "/etc/init.d/cpe-filter", "reload"]
    assert [word.replace(str(router.root), "") for word in message.triggers[1]] == wanted


def test_triggers(router: Router) -> None:
    (message,) = router.init("start")
    assert message.triggers == [
        ["add_reload_trigger", "cpe-filter", "network", "firewall", "dhcp"],
        ["add_raw_trigger", "interface.*", "2000", str(router.path("/etc/init.d/cpe-filter")), "reload"],
    ]


# ── the jail ────────────────────────────────────────────────────────────────────────────────────────


def test_a_jail_where_there_is_one(router: Router) -> None:
    (plain,) = [started(router, "")["run"]]
    assert not {"jail", "capabilities", "no_new_privs"} & set(plain)
    router.ujail()
    jailed = started(router, "")["run"]
    has_syslog = Path("/dev/log").is_socket()
    assert jailed["jail"] == ["cpe-filter", "procfs", *(["log"] if has_syslog else [])]
    assert jailed["no_new_privs"] == ["1"]
    assert {"/usr/sbin/nft", "/usr/lib", "/lib", "/tmp", "/tmp/hosts"} <= set(jailed["jail_mount"])
    assert jailed["jail_mount_rw"] == ["/var/run/cpe-filter", "/etc/cpe-filter"]
    assert jailed["capabilities"] == [str(router.path("/etc/capabilities/cpe-filter.json"))]
    assert "jail" not in started(router, "config cpe-filter 'main'\n\toption jail '0'\n")["run"]


def test_a_folder_that_procd_cannot_mount_means_no_jail(router: Router) -> None:
    router.ujail()
    config = "config state 'state'\n\toption state_file '/etc/a b/state'\n"
    assert "jail" not in started(router, config)["run"]
    assert "not in a jail: procd cannot mount /etc/a b" in router.log


NO_FILE = "stat(/etc/nsswitch.conf) failed: No such file or directory"


def test_a_jail_that_cannot_be_built_is_said_and_the_filter_runs_without_it(router: Router) -> None:
    router.ujail(NO_FILE)
    assert "jail" not in started(router, "")["run"]
    assert f"<4>not in a jail: {NO_FILE}" in router.log
    assert f"not in a jail: {NO_FILE}\n" in router.text(f"{RUN}/notes")
    run_alive(router)
    router.init("reload")
    router.config("cpe-filter", limits(7))
    router.init("reload")
    assert router.log.count(NO_FILE) == 1
    assert len((router.stand_in / "ujail").read_text().splitlines()) == 1  # asked once
    router.ujail()
    defaults(router)  # another version of the package may build it
    assert "jail" in started(router, "")["run"]


def test_uci_may_forbid_to_run_without_a_jail(router: Router) -> None:
    required = "config cpe-filter 'main'\n\toption jail 'required'\n"
    assert started(router, required) == {}
    assert "the filter is not started: main.jail is required, and there is none: procd-ujail is not" in router.log
    router.ujail(NO_FILE)
    assert started(router, required, "reload") == {}
    assert f"<3>the filter is not started: main.jail is required, and there is none: {NO_FILE}" in router.log
    router.ujail()
    router.path(f"{RUN}/jail").unlink()
    router.config("cpe-filter", required + limits(4))
    assert "jail" in router.init("reload")[0].instances["run"]
    router.config("cpe-filter", "config cpe-filter 'main'\n\toption jail 'maybe'\n")
    router.init("reload")
    assert router.text(f"{RUN}/config-error") == 'cpe-filter.main.jail is "maybe"; allowed: 0, 1, required\n'


@pytest.mark.parametrize("more", ["", "config filter\nconfig filter\n"])
def test_a_filter_that_runs_without_the_jail_that_is_required_is_ended(router: Router, more: str) -> None:
    assert "jail" not in started(router, CLOSED)["run"]
    run_alive(router)
    assert started(router, CLOSED + "config cpe-filter 'main'\n\toption jail 'required'\n" + more, "reload") == {}
    assert started(router, CLOSED + "config cpe-filter 'main'\n\toption jail '1'\n", "reload")


def test_a_jail_that_is_missing_leaves_no_rules_of_a_killed_filter(router: Router) -> None:
    (router.stand_in / "table").write_text("")
    required = "config cpe-filter 'main'\n\toption jail 'required'\n"
    assert started(router, CLOSED + required) == {}
    assert "table inet cpe_filter" not in router.log
    assert started(router, required, "reload") == {}
    assert "table inet cpe_filter" in router.log  # what `cpe-filter rules --remove` says where nft is a stand-in


def test_the_jails_capabilities_are_few() -> None:
    sets = json.loads((FILES / "cpe-filter.capabilities").read_text())
    assert set(sets) == {"bounding", "effective", "ambient", "permitted", "inheritable"}
    (only,) = {tuple(names) for names in sets.values()}
    # The last three: the folder that is handed over to [report] user.
    assert only == ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_READ_SEARCH")


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_reload_can_change_is_a_signal(router: Router) -> None:
    before = started(router, limits(3))["run"]["env"]
    run_alive(router)
    router.config("cpe-filter", limits(4))
    told = router.init("reload")
    assert [message.verb for message in told] == ["set", "signal"]
    assert told[0].instances["run"]["env"] == before
    assert told[1].about == ["cpe-filter", "run", "HUP"]
    assert load(str(router.path(f"{RUN}/policy.toml"))).limits.messages_burst == 4


def test_what_a_reload_cannot_change_has_procd_start_it_anew(router: Router) -> None:
    before = started(router, "")
    run_alive(router)
    router.config("cpe-filter", "config filter\n\toption queue '7'\n")
    (message,) = router.init("reload")
    assert message.instances["run"]["env"] != before["run"]["env"]
    assert message.instances["explain"] == before["explain"]
    router.config("cpe-filter", "config filter\n\toption queue '7'\nconfig explain\n\toption text 'No.'\n")
    after = router.init("reload")[0].instances
    assert after["run"]["env"] == message.instances["run"]["env"]
    assert after["explain"]["env"] != before["explain"]["env"]


def test_an_upgrade_has_procd_start_all_anew(router: Router) -> None:
    """apk runs what is in uci-defaults, and starts the service: it has not stopped the old version."""
    before = started(router, REPORTS)
    run_alive(router)
    router.path(f"{RUN}/service").write_text("run of another version\n")
    defaults(router)
    (message,) = router.init("start")
    assert list(message.instances) == list(before) == ["run", "explain", "send"]
    for name, instance in message.instances.items():
        assert instance["env"] != before[name]["env"]
        assert instance["command"] == before[name]["command"]
    assert router.text(f"{RUN}/service").startswith("run ")
    (again,) = router.init("start")
    assert again.instances == message.instances


def test_nothing_new_is_neither(router: Router) -> None:
    before = started(router, limits(3))
    run_alive(router)
    checked = router.path(f"{RUN}/service").stat().st_mtime_ns
    program = router.path("/usr/bin/cpe-filter")
    program.write_text("#!/bin/sh\nexit 1\n")
    assert router.init("reload") == []
    (message,) = router.init("start")
    assert list(message.instances) == list(before)
    assert router.path(f"{RUN}/service").stat().st_mtime_ns == checked  # no Python was started


# ── NAT64 ───────────────────────────────────────────────────────────────────────────────────────────

NAT64 = "printf 'Name:\\tipv4only.arpa\\nAddress: 2001:db8:64::c000:aa\\nName:\\tipv4only.arpa\\nAddress: %s\\n'"
RESOLVED = f"{NAT64} 2001:db8:64::c000:ab\n"
BOTH = "2001:db8:64::c000:aa\n2001:db8:64::c000:ab\n"


def wait_for(path: Path, text: str) -> None:
    """Until the file holds this: it is written in the background."""
    end = time.monotonic() + DEADLINE_S
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < end, path.read_text() if path.exists() else "no such file"
        time.sleep(0.02)


def resolver(router: Router, script: str) -> None:
    """What nslookup does from now on."""
    path = router.stand_in / "answer.new"
    path.write_text(script)
    path.rename(router.stand_in / "answer")


def is_open(path: Path) -> bool:
    """Whether a process has the file open: procd's lock is held as long."""
    for descriptor in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == str(path):
                return True
    return False


def test_the_resolver_is_asked_for_the_prefix_of_nat64(router: Router) -> None:
    resolver(router, RESOLVED)
    file = router.path(f"{RUN}/nat64")
    started(router, "")
    wait_for(file, BOTH)
    assert (router.stand_in / "nslookup").read_text() == "-type=aaaa ipv4only.arpa\n"
    assert looked_up(str(file)) == (IPv6Network("2001:db8:64::/96"),)
    resolver(router, f"{NAT64} x\n".replace("db8:64", "db8:65"))  # an interface has come up, with another network
    router.init("reload")
    wait_for(file, "2001:db8:65::c000:aa\nx\n")
    resolver(router, "echo '*** no answer'\n")
    router.init("reload")
    wait_for(file, "")
    assert looked_up(str(file)) == ()


def test_a_resolver_that_does_not_answer_yet_is_asked_three_times(router: Router) -> None:
    slept, asked = router.stand_in / "slept", router.stand_in / "nslookup"
    (router.bin / "sleep").unlink()
    router._script("sleep", f"echo $@ >>{slept}")
    resolver(router, f"[ $(wc -l <{asked}) -gt 2 ] || exit 1\n{RESOLVED}")
    started(router, "")
    wait_for(router.path(f"{RUN}/nat64"), BOTH)
    assert slept.read_text() == "10\n10\n"
    asked.unlink()
    resolver(router, "echo ';; connection timed out'\nexit 1\n")
    started(router, "")
    wait_for(router.path(f"{RUN}/nat64"), "")
    assert len(asked.read_text().splitlines()) == 3


def test_nobody_waits_for_the_resolver_and_the_last_answer_counts(router: Router) -> None:
    """A slow answer of before must not replace the one that came after it."""
    go, gone = router.stand_in / "go", router.stand_in / "gone"
    os.mkfifo(go)
    resolver(router, f"read x <{go}\n{RESOLVED}\n: >{gone}\n")
    file = router.path(f"{RUN}/nat64")
    assert "run" in started(router, "")
    assert not file.exists()
    assert (router.stand_in / "lock").exists()
    assert not is_open(router.stand_in / "lock")
    resolver(router, f"{NAT64} x\n".replace("db8:64", "db8:65"))
    router.init("reload")
    wait_for(file, "2001:db8:65::c000:aa\nx\n")
    go.write_text("\n")
    wait_for(gone, "")
    time.sleep(0.2)
    wait_for(file, "2001:db8:65::c000:aa\nx\n")
    assert {path.name for path in file.parent.iterdir() if "nat64" in path.name} == {"nat64", "nat64.asked"}


def test_the_answers_are_beside_the_status(router: Router) -> None:
    resolver(router, RESOLVED)
    started(router, "config status 'status'\n\toption status_file '/tmp/status/status.json'\n")
    wait_for(router.path("/tmp/status/nat64"), BOTH)


# ── interfaces ──────────────────────────────────────────────────────────────────────────────────────


def test_waits_for_an_interface(router: Router) -> None:
    router.config(
        "network", "config interface 'lan'\n\toption device 'br-lan'\nconfig interface 'wan'\n\toption proto 'pppoe'\n"
    )
    router.devices("br-lan")
    assert started(router, "config network\n\tlist lan 'br-lan'\n") == {}
    assert "<5>the filter is not started: waiting for the interface pppoe-wan" in router.log
    router.devices("br-lan", "pppoe-wan")
    router.up("wan", "pppoe-wan")
    assert "run" in router.init("reload")[0].instances


def test_a_filter_that_runs_goes_on_while_an_interface_is_away(router: Router) -> None:
    before = started(router, "")
    run_alive(router)
    router.devices("br-lan")
    assert router.init("reload")[0].instances == before
    assert "not started" not in router.log + router.text(f"{RUN}/notes")
    # Another policy would have it started anew, and it could not start.
    router.config("cpe-filter", "config filter\n\toption queue '7'\n")
    assert router.init("reload")[0].instances == {}
    assert "the filter is not started: waiting for the interface" in router.text(f"{RUN}/notes")


def test_a_second_uplink_has_its_name_before_it_comes(router: Router) -> None:
    router.config(
        "network",
        "config interface 'lan'\n\toption device 'br-lan'\nconfig interface 'wan'\n\toption device 'wan'\n"
        "config interface 'lte'\n\toption device 'wwan0'\n",
    )
    assert started(router, "config network\n\tlist wan_network 'wan'\n\tlist wan_network 'lte'\n")
    assert load(str(router.path(f"{RUN}/policy.toml"))).network.wan == ("wan", "wwan0")


def test_a_network_that_netifd_makes_is_taken_in_and_kept(router: Router) -> None:
    """DS-Lite: wan6_4 comes when wan6 is up, and goes with it. No new start: a signal."""
    router.config(
        "network",
        "config interface 'lan'\n\toption device 'br-lan'\nconfig interface 'wan6'\n\toption device 'wan'\n",
    )
    router.config("firewall", FIREWALL)
    policy = router.path(f"{RUN}/policy.toml")
    before = started(router, "")
    assert load(str(policy)).network.wan == ("wan",)
    run_alive(router)
    router.up("wan6", "wan")
    router.up("wan6_4", "ds-wan6_4", proto="dslite", zone="wan")
    told = router.init("reload")
    assert [message.verb for message in told] == ["set", "signal"]
    assert told[0].instances == before
    assert load(str(policy)).network.wan == ("wan", "ds-wan6_4")
    router.down("wan6_4")
    assert [message.verb for message in router.init("reload")] == ["set"]
    assert load(str(policy)).network.wan == ("wan", "ds-wan6_4")


# ── configurations that cannot be used ──────────────────────────────────────────────────────────────


def test_the_last_good_policy_stays(router: Router) -> None:
    before = started(router, limits(3))
    run_alive(router)
    router.config("cpe-filter", BAD)
    told = router.init("reload")
    assert [message.verb for message in told] == ["set"]
    assert told[0].instances == before
    assert load(str(router.path(f"{RUN}/policy.toml"))).limits.messages_burst == 3
    error = router.text(f"{RUN}/config-error")
    assert error.startswith("cpe-filter.limits.messages_burst is 0; allowed:")
    assert f"<3>configuration not used, the policy stays as it was: {error}" in router.log
    router.config("cpe-filter", limits(3))
    router.init("reload")
    assert not router.path(f"{RUN}/config-error").exists()


def test_after_a_boot_too(router: Router) -> None:
    started(router, limits(3))
    for path in router.path(RUN).iterdir():
        path.unlink()
    assert "run" in started(router, BAD)
    assert load(str(router.path(f"{RUN}/policy.toml"))).limits.messages_burst == 3
    assert "the last good policy is" in router.log
    assert router.path(f"{RUN}/config-error").exists()


def test_with_none_from_before_nothing_runs(router: Router) -> None:
    assert started(router, BAD) == {}
    assert "nothing is filtered" in router.log
    assert "run" in started(router, "", "reload")


def test_a_package_that_is_upgraded_alone_has_its_instance_started_again(router: Router) -> None:
    """Its postinst asks for a reload; the names of its files are the same."""
    modules = router.root / "usr/lib/python3.11/site-packages/cpe_filter"
    for room in ("explain", "send"):
        (modules / room).mkdir(parents=True)
        (modules / room / "command.pyc").write_text("1")
    script = router.path("/etc/init.d/cpe-filter")
    script.write_text(script.read_text().replace("MODULES='", f"MODULES='{router.root}"))
    config = REPORTS + "config filter 'filter'\n\toption mode 'block'\n"
    before = started(router, config)
    run_alive(router)
    assert router.init("reload") == []
    for room in ("explain", "send"):
        (modules / room / "command.pyc").write_text("2")
        (message,) = [one for one in router.init("reload") if one.verb == "set"]
        after = message.instances
        assert [name for name in after if after[name]["env"] != before[name]["env"]] == [room]
        before = after


def test_a_program_that_cannot_start_is_logged_as_an_error(router: Router) -> None:
    router.path("/usr/bin/cpe-filter").write_text("#!/bin/sh\necho 'No module named cpe_filter' >&2\nexit 1\n")
    assert started(router, "") == {}
    assert router.log == "<3>No module named cpe_filter\n"


def test_a_bare_installation_logs_a_notice(router: Router) -> None:
    started(router, "")
    assert router.log.startswith("<5>mode is monitor, because no relays are set: ")
    assert router.log.count("\n") == 1


def test_a_policy_that_cannot_be_written_leaves_the_one_before(router: Router) -> None:
    before = started(router, limits(3))
    run_alive(router)
    router.path(f"{RUN}/policy.toml.new").mkdir()  # as where /var/run is full: the new file cannot be made
    router.config("cpe-filter", limits(4))
    assert router.init("reload")[0].instances == before
    assert "policy.toml.new: Is a directory" in router.log
    assert load(str(router.path(f"{RUN}/policy.toml"))).limits.messages_burst == 3
    router.path(f"{RUN}/policy.toml.new").rmdir()
    router.init("reload")
    assert load(str(router.path(f"{RUN}/policy.toml"))).limits.messages_burst == 4


def test_the_flash_is_written_when_the_configuration_is_another(router: Router) -> None:
    started(router, limits(3))
    inode = router.path(LAST).stat().st_ino
    router.up("wan", "ppp0")
    router.devices("br-lan", "ppp0")
    router.init("reload")
    assert load(str(router.path(f"{RUN}/policy.toml"))).network.wan == ("ppp0",)
    assert router.path(LAST).stat().st_ino == inode
    started(router, limits(4))
    assert load(str(router.path(LAST))).limits.messages_burst == 4


# ── rules ───────────────────────────────────────────────────────────────────────────────────────────


def test_fail_closed_has_its_rules_where_the_firewall_finds_them(router: Router) -> None:
    router.init("enable")
    started(router, CLOSED)
    rules = router.text(RULES)
    assert rules.startswith("table inet cpe_filter\ndelete table inet cpe_filter\ntable inet cpe_filter {")
    assert "queue to 25" in rules
    asked = (router.stand_in / "nft").read_text().splitlines()
    new = router.path(f"{RUN}/rules.new")
    assert asked == [f"-c -f {new}", "list table inet cpe_filter", f"-f {new}"]  # and in the kernel at once
    inode = router.path(RULES).stat().st_ino
    router.init("restart")
    assert router.path(RULES).stat().st_ino == inode  # not written again
    started(router, "")
    assert not router.path(RULES).exists()


def test_the_defaults_of_an_image_make_them_before_the_firewall_starts(router: Router) -> None:
    """uci-defaults call the init script, which is a stand-in's matter here: what it is asked for, and what it does."""
    router.config("cpe-filter", CLOSED)
    script = router.path("/etc/init.d/cpe-filter")
    text = script.read_text()
    script.write_text(f'#!/bin/sh\necho "$@" >{router.stand_in}/asked\n')
    defaults(router)
    assert (router.stand_in / "asked").read_text() == "rules\n"
    script.write_text(text)
    router.devices()  # no interface is there yet, and netifd does not run
    router.init("enable")
    assert router.init("rules") == []
    assert router.path(RULES).exists()
    router.path(RULES).unlink()
    router.config("cpe-filter", "config cpe-filter 'main'\n\toption enabled '0'\n" + CLOSED)
    router.init("rules")
    assert not router.path(RULES).exists()


def test_rules_that_the_kernel_refuses_are_not_left_for_the_firewall(router: Router) -> None:
    (router.stand_in / "refuses").write_text("")
    started(router, CLOSED)
    assert not router.path(RULES).exists()
    assert "<3>fail is closed, and the kernel does not take the rules" in router.log


def test_fail_open_leaves_none(router: Router) -> None:
    started(router, "")
    assert not router.path(RULES).exists()
    assert not (router.stand_in / "nft").exists()


def test_a_stop_leaves_fail_closeds_rules(router: Router) -> None:
    """Stopped and enabled: nothing leaves. Stopped and disabled, as by a removal: all is as if it had never been."""
    router.init("enable")
    started(router, CLOSED)
    (router.stand_in / "table").write_text("")
    (message,) = router.init("stop")
    assert (message.verb, message.about) == ("delete", ["cpe-filter"])
    assert router.path(RULES).exists()
    started(router, CLOSED)
    router.init("disable")
    router.init("stop")
    assert not router.path(RULES).exists()
    assert "table inet cpe_filter" in router.log  # what `cpe-filter rules --remove` says where nft is a stand-in


def test_a_stop_takes_out_what_a_killed_filter_left_in_fail_open(router: Router) -> None:
    router.init("enable")
    started(router, "")
    router.init("stop")
    assert "table inet cpe_filter" not in router.log
    started(router, "")
    (router.stand_in / "table").write_text("")
    router.init("stop")
    assert "table inet cpe_filter" in router.log  # what `cpe-filter rules --remove` says where nft is a stand-in
    started(router, CLOSED)
    said = router.log
    router.init("stop")
    router.init("stop")
    assert router.log == said
    assert router.path(RULES).exists()


def test_a_service_that_uci_disables_takes_its_rules_out(router: Router) -> None:
    router.init("enable")
    started(router, CLOSED)
    (router.stand_in / "table").write_text("")
    started(router, "config cpe-filter 'main'\n\toption enabled '0'\n" + CLOSED, "reload")
    assert not router.path(RULES).exists()


def test_a_boot_that_does_not_start_the_filter_finds_no_rules(router: Router) -> None:
    """They would let no mail leave, for good. An upgrade starts the service also where it is not enabled."""
    started(router, CLOSED)
    assert not router.path(RULES).exists()
    assert "-f " in (router.stand_in / "nft").read_text()  # now nothing leaves unseen all the same
    router.init("enable")
    router.init("start")
    assert router.path(RULES).exists()
    router.init("disable")
    assert not router.path(RULES).exists()
    assert list(router.path("/etc/rc.d").iterdir()) == []
    run_alive(router)
    router.init("reload")
    assert not router.path(RULES).exists()


def test_closed_waits_with_its_rules_in_place(router: Router) -> None:
    router.init("enable")
    router.devices("br-lan")
    assert started(router, CLOSED) == {}
    assert router.path(RULES).exists()


# ── the first boot ──────────────────────────────────────────────────────────────────────────────────

FIREWALL = """
config zone
	option name 'lan'
	list network 'lan'
config zone
	option name 'guest'
	option network 'guest'
config zone
	option name 'cameras'
	list network 'cameras'
config zone
	option name 'wan'
	list network 'wan'
	list network 'wan6'
	list network 'lte'
config forwarding
	option src 'lan'
	option dest 'wan'
config forwarding
	option src 'guest'
	option dest 'wan'
"""


NETWORKS = "".join(
    f"config interface '{name}'\n\toption device '{device}'\n"
    for name, device in (
        ("lan", "br-lan"),
        ("guest", "br-guest"),
        ("cameras", "br-cams"),
        ("wan", "wan"),
        ("lte", "wwan0"),
    )
)


def defaults(router: Router) -> str:
    done = router.ash(router.path("/etc/uci-defaults/90-cpe-filter"))
    assert (done.returncode, done.stderr) == (0, b"")
    return router.text("/etc/config/cpe-filter")


def test_zones_are_followed_and_no_list_is_written(router: Router) -> None:
    shipped = (FILES / "cpe-filter.config").read_text()
    router.config("cpe-filter", shipped)
    router.config("firewall", FIREWALL)
    router.config("network", NETWORKS)
    assert defaults(router) == shipped
    router.init("start")
    policy = router.path(f"{RUN}/policy.toml")
    assert load(str(policy)).network.lan == ("br-lan", "br-guest")
    assert load(str(policy)).network.wan == ("wan", "wwan0")
    router.config("firewall", FIREWALL.replace("\tlist network 'lte'\n", ""))
    router.init("reload")
    assert load(str(policy)).network.wan == ("wan",)


def test_lists_that_an_earlier_version_wrote_are_removed(router: Router) -> None:
    router.config("firewall", FIREWALL)
    lists = {"lan": ("lan", "guest"), "wan": ("wan", "wan6", "lte")}
    text = "config network 'network'\n" + "".join(
        f"\tlist {side}_network '{name}'\n" for side, names in lists.items() for name in names
    )
    for section in (text, text.replace(" 'network'", "")):
        router.config("cpe-filter", section + "\tlist relays '192.0.2.25'\n")
        left = defaults(router)
        assert "_network" not in left
        assert "192.0.2.25" in left
    assert "<5>cpe-filter.network.wan_network removed: the firewall's zones say the same" in router.log
    ours = text.replace("\tlist wan_network 'lte'\n", "")
    router.config("cpe-filter", ours)
    left = defaults(router)
    assert "lan_network" not in left
    assert left.count("wan_network") == 2


def test_reload_config_knows_the_configuration_from_the_start(router: Router) -> None:
    """It tells of a configuration that differs from what its list says, and of none that is not in it."""
    seen = router.path("/var/run/config.md5")
    seen.parent.mkdir(parents=True)
    defaults(router)
    assert not seen.exists()  # an image's first boot: reload_config makes it later
    for folder in ("", "/var/run/config.check/"):
        seen.write_text(f"0123  {folder}dhcp\n4567  {folder}network\n")
        defaults(router)
        *_, line = seen.read_text().splitlines()
        assert re.fullmatch(rf"[0-9a-f]{{32}}  {folder}cpe-filter", line)
        before = seen.read_text()
        defaults(router)
        assert seen.read_text() == before
    seen.write_text("0123  /var/run/config.check/network\n4567  /var/run/config.check/my-network\n")
    defaults(router)
    _, _, line = seen.read_text().splitlines()
    assert line.endswith("  /var/run/config.check/cpe-filter")


def test_every_file_is_installed_where_the_recipe_has_it(read: Callable[[str], ipk.Ipk]) -> None:
    assert set(INSTALL) == {path.name for path in FILES.iterdir()}
    assert (FILES / "cpe-filter.keep").read_text() == "/etc/cpe-filter/\n"
    packed = {**read("cpe-filter").files, **read("cpe-filter-report").files}
    for name, (place, mode) in INSTALL.items():
        assert (packed[place].content, packed[place].mode) == ((FILES / name).read_bytes(), mode), name


# ── the page ────────────────────────────────────────────────────────────────────────────────────────

PAGE = "config notice 'notice'\n\toption page '/tmp/notice/index.html'\n"


def test_the_page_is_where_uhttpd_finds_it_and_goes_with_the_service(router: Router) -> None:
    link = router.path("/www/mail-filter")
    started(router, PAGE)  # no uhttpd
    assert not link.parent.exists()
    link.parent.mkdir()
    for page, folder in ((PAGE, "/tmp/notice"), (PAGE.replace("notice/", "other/"), "/tmp/other")):
        started(router, page)
        assert link.readlink() == Path(folder)
    started(router, "")
    assert not link.is_symlink()
    started(router, PAGE)
    router.config("cpe-filter", PAGE + "config cpe-filter 'main'\n\toption enabled '0'\n")
    router.init("start")
    assert not link.is_symlink()


def test_what_somebody_else_has_there_stays(router: Router) -> None:
    folder = router.path("/www/mail-filter")
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("another page")
    started(router, PAGE)
    started(router, "")
    assert (folder / "index.html").read_text() == "another page"


@pytest.mark.parametrize("name", ["policy.toml", "service", "notes", "service.new"])
def test_a_folder_in_the_place_of_a_file_is_named(router: Router, name: str) -> None:
    (router.root / RUN[1:] / name / "inner").mkdir(parents=True)
    script = router.root / "prepare.sh"
    script.write_text(f"exec {router.root}/usr/bin/cpe-filter uci prepare\n")
    done = router.ash(script)
    assert done.returncode == 2
    assert done.stderr.decode() == f"cpe-filter: {router.root}{RUN}/{name}: Is a directory\n"
