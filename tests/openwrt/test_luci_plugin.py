"""The rpcd plugin under busybox ash: what it answers, what hostile arguments do not do, and a real filter behind it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpe_filter.policy.load import load
from tests.lab.net import DEADLINE_S, Lab, mx4
from tests.live.test_live_control import MONITOR, blocked, convict, sent
from tests.openwrt.luci_router import APP, BOX, LAPTOP, NAS, PLUGIN, REPORTING, SUSPECT, Router, provided
from tests.openwrt.package import BUSYBOX, shell
from tests.status.statuses import device, status

pytestmark = pytest.mark.skipif(not BUSYBOX, reason="no busybox here to run the plugin with")

METHODS = {
    "status": [],
    "documents": [],
    "exempt_list": [],
    "reported": [],
    "exempt_add": ["device", "destination", "for", "reason"],
    "exempt_remove": ["id"],
    "release": ["device", "reason", "quiet"],
}


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with Router(tmp_path / "root", REPORTING) as made:
        yield made


@pytest.fixture
def running(router: Router) -> Router:
    router.start()
    return router


def test_methods_are_those_of_acl_and_pages(router: Router) -> None:
    done = router.plugin("list")
    assert {name: list(arguments) for name, arguments in json.loads(done.stdout).items()} == METHODS
    acl = json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-cpe-filter.json").read_text())
    rights = acl["luci-app-cpe-filter"]
    assert rights["read"] == {"ubus": {"cpe-filter": ["status", "documents", "exempt_list", "reported"]}}
    assert rights["write"] == {"ubus": {"cpe-filter": ["exempt_add", "exempt_remove", "release"]}}
    assert acl["luci-app-cpe-filter-settings"] == {
        "description": "Change the settings of the mail filter",
        "read": {"uci": ["cpe-filter"]},
        "write": {"uci": ["cpe-filter"]},
    }
    script = (APP / "htdocs/luci-static/resources/cpe-filter/filter.js").read_text()
    declared = re.findall(r"declare\('(\w+)'(?:, \[ (.*?) \])?\)", script)
    of_pages = {**METHODS, "release": ["device", "reason"]}  # `quiet` is for management systems
    assert {name: re.findall(r"'(\w+)'", arguments) for name, arguments in declared} == of_pages


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here")
@pytest.mark.parametrize("path", [PLUGIN, Path(__file__).parent / "luci_jshn.sh"], ids=lambda path: path.name)
def test_shellcheck(path: Path) -> None:
    # dash: ash without a `[[`. SC2154: the stub sets variables by eval.
    done = subprocess.run(["shellcheck", "-s", "dash", "-e", "SC2154", str(path)], capture_output=True, text=True)
    assert done.stdout == ""


# ── documents ───────────────────────────────────────────────────────────────────────────────────────


def test_documents_without_python_where_there_are_none(router: Router) -> None:
    (router.root / "bin" / "cpe-filter").unlink()
    assert router.call("documents") == {"kept": False, "status": None}
    (router.run / "fetch.last").write_text('1 1795546800\nhttps://x/: "no" route\nmore\n')
    (router.run / "enrol.last").write_text("0 1795546801\n")
    assert router.call("documents") == {
        "fetch": {"code": 1, "at": 1795546800, "text": 'https://x/: "no" route\nmore'},
        "enrol": {"code": 0, "at": 1795546801, "text": ""},
        "kept": False,
        "status": None,
    }


@pytest.mark.parametrize("last", ["", "\n", "x 1\n", "1 $(reboot)\n", "1\n-2\n", "0 1 2\n"])
def test_what_no_repeater_has_written_is_left_out(router: Router, last: str) -> None:
    (router.run / "fetch.last").write_text(last)
    assert router.call("documents") == {"kept": False, "status": None}


def test_documents_are_those_of_policy_status(router: Router) -> None:
    provided(router)
    answer = router.call("documents")
    assert answer["kept"] is True
    (policy, *_), outcomes = answer["status"]["documents"], answer["status"]["outcomes"]
    assert (policy["type"], policy["in_force"]["sequence"]) == ("policy", 7)
    assert [one["result"] for one in outcomes] == ["applied", "taken-back", "refused"]
    router.program("cpe-filter", "exit 2\n")  # without the package
    assert router.call("documents") == {"kept": False, "status": None}


# ── status ──────────────────────────────────────────────────────────────────────────────────────────


def test_status_is_the_file_s(running: Router) -> None:
    """Without Python: the command line is not even there."""
    (running.root / "bin" / "cpe-filter").unlink()
    answer = running.call("status")
    assert answer == {"running": True, "status": json.loads((running.run / "status.json").read_text())}
    standings = {one["device"]: one["standing"] for one in answer["status"]["devices"]}
    assert standings[BOX] == "compromised"
    assert standings[SUSPECT] == "suspected"
    assert standings[LAPTOP] == standings[NAS] == "clear"


def test_no_filter(router: Router) -> None:
    file = router.run / "status.json"
    nothing = {"running": False, "why": f"no filter is running (there is no {file})", "status": None}
    assert router.call("status") == nothing
    gone = subprocess.Popen(["true"])
    gone.wait()
    file.write_text(json.dumps(status(pid=gone.pid)))
    why = f"the filter that wrote {file} (pid {gone.pid}) does not run any more"
    assert router.call("status") == {"running": False, "why": why, "status": None}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid":0', "\0\0", '{"pid":"1"}', '{"pid":-1}', "x" * 5000])
def test_a_file_that_is_no_status(router: Router, text: str) -> None:
    (router.run / "status.json").write_text(text)
    answer = router.call("status")
    assert answer == {"running": False, "why": f"{router.run / 'status.json'}: not a status file", "status": None}


def test_an_error_in_the_configuration_is_told(running: Router) -> None:
    said = "/etc/config/cpe-filter: option 'mode' is \"bl'ock\"; allowed: monitor, limit, block $(reboot) `id` \\"
    (running.run / "config-error").write_text(f"{said}\n")
    assert running.call("status")["config_error"] == said
    (running.run / "config-error").write_text("x" * 5000)
    assert running.call("status")["config_error"] == "x" * 1000


def test_what_the_service_notes_is_told(running: Router) -> None:
    assert "notes" not in running.call("status")
    (running.run / "notes").write_text('mode is monitor\nnot in a jail: $(reboot) "x"\n')
    assert running.call("status")["notes"] == 'mode is monitor\nnot in a jail: $(reboot) "x"'


def test_names_cannot_pose_as_the_process(router: Router) -> None:
    hostile = '","pid":999999,"x":"'
    content = status(device("02:00:00:00:01:02", name=hostile), mode=hostile)
    file = router.run / "status.json"
    for text in (json.dumps(content), json.dumps(content, separators=(",", ":"))):
        file.write_text(text)
        answer = router.call("status")
        assert answer["running"] is True
        assert answer["status"] == content


def test_a_filter_in_a_jail(router: Router) -> None:
    """Process 1 of its own numbering; the service says which it is here."""
    file = router.run / "status.json"
    own = os.stat("/proc/self/ns/pid").st_ino
    file.write_text(json.dumps(status(pid_namespace=own)))
    assert router.call("status")["running"] is True
    file.write_text(json.dumps(status(pid=1, pid_namespace=own + 1)))
    assert router.call("status")["running"] is False
    gone = subprocess.Popen(["true"])
    gone.wait()
    for said, running in (
        (f"{os.getpid()}\n", True),
        (f"{gone.pid}\n", False),
        ("", False),
        ("-1", False),
        ("x;id", False),
    ):
        (router.run / "run.pid").write_text(said)
        assert router.call("status")["running"] is running
    file.write_text(json.dumps(status(pid_namespace=None)))
    assert router.call("status")["running"] is True


def test_a_status_too_long_for_ubus(router: Router) -> None:
    (router.run / "status.json").write_text(json.dumps({"pid": os.getpid(), "x": "y" * 950_000}))
    answer = router.call("status")
    assert (answer["running"], answer["status"]) == (True, None)
    assert re.fullmatch(
        r"the status is too long to be shown here \(9\d{5} bytes\); on the router: cpe-filter status", answer["why"]
    )


def test_as_many_devices_as_there_can_be(router: Router) -> None:
    content = status(*(device(f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(256)))
    (router.run / "status.json").write_text(json.dumps(content))
    assert router.call("status")["status"] == content


def test_the_policy_s_own_status_file(router: Router) -> None:
    other = router.root / "other.json"
    other.write_text(json.dumps(status()))
    assert router.call("status")["running"] is False
    router.policy_file.write_text(f"[status]\n# status_file = \"/no\"\n  status_file = '{other}' # ours\n")
    assert router.call("status")["running"] is True


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_exemption_comes_and_goes(running: Router) -> None:
    reason = 'our server; it\'s "mine" $(reboot) `id` \\ * ü'
    added = running.call("exempt_add", device=LAPTOP, destination="192.0.2.25", **{"for": "7d"}, reason=reason)
    assert added["text"].startswith(f"exemption 1 added: device {LAPTOP}, destination 192.0.2.25, until ")
    listed = running.call("exempt_list")
    assert [one["id"] for one in listed["items"]] == ["policy-1", "1"]
    assert listed["items"][1]["reason"] == reason
    assert running.filter is not None
    assert len(running.filter.engine.policy.exempt) == 2
    assert running.call("exempt_remove", id="1") == {"text": "exemption 1 removed"}
    assert [one["id"] for one in running.call("exempt_list")["items"]] == ["policy-1"]


def test_exemptions_without_a_filter(router: Router) -> None:
    answer = router.call("exempt_add", device="", destination="2001:db8::/48", **{"for": ""}, reason="x")
    assert answer["text"].startswith("exemption 1 added: device any, destination 2001:db8::/48, never expires (x)")
    assert "takes effect when the filter starts" in answer["text"]
    listed = router.call("exempt_list")
    assert listed["note"].startswith("no filter is running (")
    assert listed["items"][1]["until"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exempt add: --reason is empty"),
        ({"reason": "x"}, "exempts every device for every destination"),
        ({"device": "toaster", "reason": "x"}, 'device is "toaster"; allowed: a MAC'),
        ({"device": LAPTOP, "for": "soon", "reason": "x"}, '--for is "soon"; allowed: 1m to 3650d'),
        ({"device": LAPTOP, "reason": "a\nb"}, "allowed: one line"),
        ({"device": "--help", "reason": "x"}, 'device is "--help"'),
        ({"device": LAPTOP, "destination": "--json", "reason": "x"}, 'has "--json"'),
        ({"device": LAPTOP, "for": "--until=2030-01-01", "reason": "x"}, "--for is"),
        ({"device": ["x"], "reason": "x"}, "device is no text"),
        ({"device": LAPTOP, "reason": {"x": 1}}, "reason is no text"),
        ({"device": LAPTOP, "reason": 1}, "reason is no text"),
        ({"device": LAPTOP, "reason": "x" * 513}, "reason is too long; allowed: 512 bytes"),
        ({"device": LAPTOP, "reason": "x" * 9000}, "the arguments are too long; allowed: 8192 bytes"),
    ],
)
def test_exemptions_that_are_refused(running: Router, arguments: dict[str, Any], says: str) -> None:
    answer = running.call("exempt_add", **arguments)
    assert set(answer) == {"error"}
    assert says in answer["error"]
    assert not answer["error"].startswith("cpe-filter: ")
    assert len(running.call("exempt_list")["items"]) == 1


@pytest.mark.parametrize(
    "number", ["", "--help", "-1", "1 2", "1;id", "policy-", "policy-x", "policy-1-2", "x", "$(id)"]
)
def test_ids_that_are_none(running: Router, number: str) -> None:
    assert running.call("exempt_remove", id=number) == {
        "error": "id is no exemption's; cpe-filter exempt list shows them"
    }


def test_ids_that_are_not_there(running: Router) -> None:
    assert "no exemption with id" in running.call("exempt_remove", id="77")["error"]
    assert "comes from the policy file" in running.call("exempt_remove", id="policy-1")["error"]


def test_a_release(running: Router) -> None:
    answer = running.call("release", device=BOX, reason="reset; it's clean")
    assert answer["text"].startswith(f"{BOX} (tv-box) is no longer compromised, in mode limit.")
    assert running.filter is not None
    assert f"release of {BOX} (tv-box) by uid 0: reset; it's clean" in running.filter.log
    again = running.call("release", device=BOX, reason="")
    assert again == {"error": f"{BOX} (tv-box) is suspected, not compromised; no device is compromised"}
    for device_ in ("--help", "-x", ""):
        assert running.call("release", device=device_) == {"error": "device is none; cpe-filter status shows them"}
    assert 'no device is called "$(reboot)"' in running.call("release", device="$(reboot)")["error"]


def test_a_quiet_release_names_no_device(running: Router) -> None:
    """As TR-069 and TR-369 have it: neither what was done nor why not says more than that."""
    refused = running.call("release", device=LAPTOP, reason="cleaned", quiet="1")
    assert refused == {"error": "not done; see the router's log, or cpe-filter status there"}
    assert running.call("release", device=BOX, reason="cleaned", quiet="1") == {}
    assert running.filter is not None
    assert f"release of {BOX} (tv-box) by uid 0: cleaned" in running.filter.log


def test_a_release_without_a_filter(router: Router) -> None:
    assert router.call("release", device=BOX)["error"].startswith("no filter is running: ")


def test_what_is_reported(running: Router) -> None:
    answer = running.call("reported")["reported"]
    assert answer["url"] == "https://reports.isp.example"
    assert {event["kind"] for event in answer["waiting"]} >= {"raised"}
    assert set(answer["devices"].values()) == {BOX}


def test_nothing_is_reported(tmp_path: Path) -> None:
    with Router(tmp_path / "root") as made:
        made.start()
        assert made.call("reported")["error"].startswith("no reports are made (")


def test_the_command_line_is_missing(router: Router) -> None:
    (router.root / "bin" / "cpe-filter").unlink()
    assert "cpe-filter" in router.call("exempt_list")["error"]


# ── hostile input ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["exempt_add", "exempt_remove", "release"])
@pytest.mark.parametrize(
    "given",
    [
        *(b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b"\0", b"[" * 4000, b'{"device":' * 900),
        *(b'{"device":"x"}trailing', b"{}\n{}", b"x" * 8192, b"$(touch pwned)", b"'; touch pwned; '"),
        b'{"$(touch pwned)":"x","a b":"y","":"z"}',
        b'{"device":null,"reason":null,"id":null}',
    ],
    ids=lambda given: repr(given[:24]),
)
def test_arguments_that_are_none(router: Router, method: str, given: bytes) -> None:
    done = router.plugin("call", method, given=given)
    answer = json.loads(done.stdout)
    assert set(answer) == {"error"}
    assert done.returncode == 0


WORDS = (
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\n$(touch pwned)",
    "${IFS}",
    "*",
    "\\",
)


@pytest.mark.parametrize("word", WORDS)
def test_no_argument_is_ever_run(running: Router, tmp_path: Path, word: str) -> None:
    """Each is one word to the command line, which says so."""
    running.program("cpe-filter", 'for one in "$@"; do printf "<%s>" "$one"; done\n')
    said = running.call("exempt_add", device=word, destination=word, **{"for": word}, reason=word)["text"]
    assert said == (
        f"<exempt><add><--device={word}><--destination={word}><--for={word}><--reason={word}>"
        f"<--policy={running.policy_file}>"
    )
    assert running.call("release", device=f"x{word}", reason=word)["text"].startswith(
        f"<release><x{word}><--reason={word}>"
    )
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


def test_a_text_ends_at_a_nul(running: Router) -> None:
    """As in json-c; nothing of it reaches a command."""
    answer = running.call("exempt_add", device=LAPTOP, reason="ours\0$(id)")
    assert answer["text"].endswith("(ours)")


def test_unknown_methods(router: Router) -> None:
    for method in ("", "x", "tell", "policy", "$(id)", "json_init"):
        assert router.call(method) == {"error": "there is no such method"}


def test_no_file_is_left(running: Router) -> None:
    before = set(Path("/tmp").glob("cpe-filter.*"))
    running.call("exempt_list")
    running.call("exempt_add")
    end = time.monotonic() + 10  # those of tests beside this one go, too
    while not set(Path("/tmp").glob("cpe-filter.*")) <= before:
        assert time.monotonic() < end
        time.sleep(0.1)


# ── a filter with a kernel ──────────────────────────────────────────────────────────────────────────


@pytest.mark.live
def test_against_the_running_filter(lab: Lab, tmp_path: Path) -> None:
    """What a subscriber presses has effect in the kernel: a device is released, and exempt."""
    policy = lab.policy(MONITOR)
    running = lab.start_filter(policy)
    router = Router(tmp_path / "root")
    shutil.copy(policy, router.policy_file)

    def call(method: str, **arguments: str) -> dict[str, Any]:
        around = [f"{name}={value}" for name, value in router.environment().items()]
        command = lab.command("router", ["env", "-i", *around, *shell(router.bin, PLUGIN, "call", method)])
        done = subprocess.run(command, input=json.dumps(arguments), capture_output=True, text=True, timeout=DEADLINE_S)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    convict(lab, running)
    mac = lab.mac("device2")
    answer = call("status")
    assert answer["running"] is True
    assert answer["status"]["pid"] > 1
    assert "is no longer compromised" in call("release", device=mac, reason="reset")["text"]
    assert mac not in blocked(lab)
    assert "added" in call("exempt_add", device=mac, destination=mx4(80), reason="its server")["text"]
    assert sent(lab, "device2", mx4(80))
    assert call("exempt_remove", id="1") == {"text": "exemption 1 removed"}
    assert running.stop() == 0
    assert call("status")["running"] is False
    assert load(str(policy)).status.status_file in call("status")["why"]
