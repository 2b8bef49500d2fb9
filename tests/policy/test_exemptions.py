"""The exemptions file: what is written is read back, what is damaged is named, and nobody sees it half done."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpe_filter.policy import exemptions
from cpe_filter.policy.exemptions import MAX_KEPT, Contents, Kept, added, without
from cpe_filter.policy.exemptions_store import DamagedFileError, change, load, render, set_aside
from cpe_filter.policy.model import Exemption, PolicyError
from tests.lab.net import DEADLINE_S, PROJECT

NOW = 1795500000.0
MAC = bytes.fromhex("020000123456")
SERVER = ip_network("192.0.2.25")
ONE = Exemption(MAC, SERVER, None, "its own mail server")

_quiet = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "etc" / "exemptions.toml")


def write(path: str, text: str | bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_bytes(text.encode() if isinstance(text, str) else text)


def adding(exemption: Exemption, by: str = "uid 0") -> Callable[[Contents], Contents]:
    return lambda contents: added(contents, exemption, NOW, by)[0]


# ── what is written is read back ────────────────────────────────────────────────────────────────────


def test_no_file_is_no_exemptions(path: str) -> None:
    assert load(path) == Contents(1, ())


def test_add_and_load(path: str) -> None:
    before, after = change(path, adding(ONE))
    assert before == Contents()
    assert load(path) == after == Contents(2, (Kept(1, ONE, NOW, "uid 0"),))
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert not os.path.exists(f"{path}.new")


def test_the_file_as_a_person_sees_it(path: str) -> None:
    until = Exemption(MAC, None, 1801439999.0, 'says "no" to \\ it')
    change(path, adding(until, "uid 0, through sudo uid 1000 (anna)"))
    _, _, text = Path(path).read_text().partition("\n")
    assert text == (
        'next = 2\n\n[[exempt]]\nid = 1\ndevice = "02:00:00:12:34:56"\ndestination = "any"\n'
        'until = 2027-01-31T23:59:59Z\nreason = "says \\"no\\" to \\\\ it"\n'
        'added = 2026-11-24T06:00:00Z\nby = "uid 0, through sudo uid 1000 (anna)"\n'
    )
    assert load(path).kept[0].exemption == until


def test_an_id_is_never_given_twice(path: str) -> None:
    for number in range(3):
        change(path, adding(Exemption(bytes((2, 0, 0, 0, 0, number)), None, None, "x")))
    change(path, lambda contents: without(contents, [3, 1]))
    change(path, adding(ONE))
    assert [one.id for one in load(path).kept] == [2, 4]


def test_the_same_device_and_destination_again_is_a_change(path: str) -> None:
    change(path, adding(ONE))
    later = ONE._replace(until=NOW + 100, reason="another")
    contents, one, replaces = added(load(path), later, NOW + 50, "uid 5")
    assert (one, replaces) == (Kept(1, later, NOW + 50, "uid 5"), True)
    assert contents == Contents(2, (one,))


def test_there_are_at_most_so_many(path: str) -> None:
    contents = Contents()
    for number in range(MAX_KEPT):
        contents = added(contents, Exemption(number.to_bytes(6, "big"), None, None, "x"), NOW, "")[0]
    write(path, render(contents))
    assert load(path) == contents
    with pytest.raises(PolicyError, match=f"there are {MAX_KEPT} exemptions, the most"):
        change(path, adding(ONE))
    assert load(path) == contents
    write(path, render(contents) + '\n[[exempt]]\nid = 9999\ndevice = "02:00:00:00:00:01"\n')
    with pytest.raises(DamagedFileError, match=f"at most {MAX_KEPT}"):
        load(path)


_networks = st.one_of(
    st.none(),
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda address, length: ip_network((address, length), strict=False),
        st.integers(2**32, 2**128 - 1),
        st.integers(0, 96),
    ),
)
_line = st.text(st.characters(exclude_categories=("C", "Zl", "Zp", "Zs")) | st.just(" "), max_size=100)
_times = st.integers(int(exemptions.EARLIEST), int(exemptions.LATEST)).map(float)
_exemptions = st.builds(
    Exemption, st.binary(min_size=6, max_size=6) | st.none(), _networks, _times | st.none(), _line
).filter(lambda one: one.device is not None or one.destination is not None)
_kept = st.builds(Kept, st.integers(1, 10**6), _exemptions, _times | st.none(), _line)


@_quiet
@given(st.lists(_kept, max_size=5, unique_by=lambda one: one.id))
def test_whatever_is_kept_comes_back(tmp_path: Path, kept: list[Kept]) -> None:
    contents = Contents(10**6 + 1, tuple(kept))
    write(str(tmp_path / "x"), render(contents))
    assert load(str(tmp_path / "x")) == contents


# ── what is wrong with it ───────────────────────────────────────────────────────────────────────────

DAMAGED: dict[str, tuple[str | bytes, str]] = {
    "cut": ('next = 2\n[[exempt]]\nid = 1\ndevice = "02:00', "not TOML"),
    "binary": (b"\xff\xfe", "not UTF-8"),
    "other table": ("[filter]\n", 'unknown table or key "filter"; known: next, [[exempt]]'),
    "next": ("next = 0", "next is 0; allowed: a whole number from 1"),
    "no tables": ("exempt = 3", "exempt is 3; expected tables [[exempt]]"),
    "no table": ("exempt = [3]", "[[exempt]] number 1 is 3; expected a table"),
    "unknown key": ('[[exempt]]\nid = 1\nwho = "x"', 'number 1 unknown key "who"; known: id, device'),
    "id": ('[[exempt]]\nid = -1\ndevice = "02:00:00:00:00:01"', "number 1 id is -1; allowed"),
    "id text": ('[[exempt]]\nid = "x"\ndevice = "02:00:00:00:00:01"', 'number 1 id is "x"; allowed'),
    "twice": ('[[exempt]]\nid = 7\ndestination = "::1"\n' * 2, "two [[exempt]] have the id 7"),
    "device": ('[[exempt]]\nid = 1\ndevice = "x"', 'number 1 device is "x"; allowed: a MAC'),
    "destination": ('[[exempt]]\nid = 1\ndestination = "mx.example"', 'number 1 destination has "mx.example"'),
    "everything": ("[[exempt]]\nid = 1\n", "name a device or a destination"),
    "until": ('[[exempt]]\nid = 1\ndestination = "::1"\nuntil = "x"', 'number 1 until is "x"; allowed: a date'),
    "added": ('[[exempt]]\nid = 1\ndestination = "::1"\nadded = 5', "number 1 added is 5; allowed: a date"),
    "reason": ('[[exempt]]\nid = 1\ndestination = "::1"\nreason = "a\\nb"', "number 1 reason is"),
    "by": ('[[exempt]]\nid = 1\ndestination = "::1"\nby = "a\\nb"', "number 1 by must be one line"),
    "deep": ("x = " + "[" * 9999, "nested too deeply"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(path: str, name: str) -> None:
    content, says = DAMAGED[name]
    write(path, content)
    with pytest.raises(DamagedFileError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert says in text
    assert "\n" not in text
    # Nothing is lost by adding one to it.
    with pytest.raises(DamagedFileError):
        change(path, adding(ONE))
    assert Path(path).read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_set_aside(path: str) -> None:
    write(path, "damaged")
    assert set_aside(path) == f"kept as {path}.bad"
    assert Path(f"{path}.bad").read_text() == "damaged"
    assert load(path) == Contents()
    assert "it stays there" in set_aside(path)


def test_written_by_hand(path: str) -> None:
    """As in the policy: what has no id gets one."""
    one, another = 'id = 4\ndestination = "::1"\n', 'device = "02-00-00-12-34-56"\nuntil = 2027-01-31\n'
    write(path, f"[[exempt]]\n{one}[[exempt]]\n{another}")
    first, second = load(path).kept
    assert (first.id, second.id) == (4, 5)
    assert second == Kept(5, Exemption(MAC, None, 1801439999.0, ""), None, "")
    change(path, adding(ONE))
    assert [one.id for one in load(path).kept] == [4, 5, 6]


@pytest.mark.parametrize("mode", [0o622, 0o606])
def test_what_others_could_have_written_is_no_permission(path: str, mode: int) -> None:
    change(path, adding(ONE))
    os.chmod(path, mode)
    with pytest.raises(PolicyError, match="Others can write to it") as caught:
        load(path)
    assert not isinstance(caught.value, DamagedFileError)  # so it is not set aside


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PolicyError, match="file/x: "):
        change(str(tmp_path / "file" / "x"), adding(ONE))
    with pytest.raises(PolicyError, match="/proc/x: "):
        change("/proc/x", adding(ONE))
    (tmp_path / "folder").mkdir()
    with pytest.raises(PolicyError, match="Is a directory"):
        change(str(tmp_path / "folder"), adding(ONE))


def test_a_full_file_system_leaves_the_old_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change(path, adding(ONE))
    before = Path(path).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PolicyError, match="No space left on device; it stays as it was"):
        change(path, adding(Exemption(MAC, None, None, "x")))
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == ["exemptions.toml"]


# ── several at once ─────────────────────────────────────────────────────────────────────────────────


def test_who_comes_second_waits_or_is_told(path: str) -> None:
    change(path, adding(ONE))
    handle = os.open(os.path.dirname(path), os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(PolicyError, match="another program is changing it; try again"):
        change(path, adding(ONE))  # the lock is held until below, so it did not wait for it
    threading.Timer(0.3, os.close, (handle,)).start()
    change(path, lambda contents: without(contents, [1]), wait_s=DEADLINE_S)
    assert load(path).kept == ()


def test_no_change_of_many_at_once_is_lost(path: str) -> None:
    program = (
        "import sys\n"
        "from cpe_filter.policy.exemptions import added\n"
        "from cpe_filter.policy.exemptions_store import change\n"
        "from cpe_filter.policy.model import Exemption\n"
        "for n in range(8):\n"
        "    one = Exemption(bytes((2, 0, 0, 0, int(sys.argv[2]), n)), None, None, 'x')\n"
        "    change(sys.argv[1], lambda contents: added(contents, one, 1.0, 'x')[0], 20.0)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, path, str(number)], cwd=PROJECT, stderr=subprocess.PIPE)
        for number in range(4)
    ]
    for process in running:
        _, error = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, error
    kept = load(path).kept
    assert sorted(one.id for one in kept) == list(range(1, 33))


# ── in force ────────────────────────────────────────────────────────────────────────────────────────


def test_in_force_goes_by_the_clock_and_has_no_end() -> None:
    until = ONE._replace(until=NOW)
    assert exemptions.in_force([ONE, until], NOW) == (ONE, ONE)
    assert exemptions.in_force([ONE, until], NOW + 1) == (ONE,)
    assert exemptions.expired(until, NOW + 1)
    assert not exemptions.expired(ONE, 1e12)


# ── which are meant ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def three() -> Contents:
    contents = Contents()
    for exemption in (ONE, Exemption(MAC, None, None, "x"), Exemption(None, SERVER, None, "y")):
        contents = added(contents, exemption, NOW, "")[0]
    return contents


def chosen(contents: Contents, *names: str, **more: Any) -> list[int]:
    policy = (Exemption(None, ip_network("2001:db8::/48"), None, "policy's"),)
    return exemptions.chosen(contents, policy, "/etc/policy.toml", names, more.get("device"), more.get("destination"))


def test_chosen(three: Contents) -> None:
    assert chosen(three, "2", "1") == [2, 1]
    assert chosen(three, device="02:00:00:12:34:56") == [1, 2]
    assert chosen(three, device="02-00-00-12-34-56", destination="any") == [2]
    assert chosen(three, destination="192.0.2.25") == [1, 3]
    assert chosen(three, device="any") == [3]
    assert chosen(three, "3", device="02:00:00:12:34:56", destination="192.0.2.25/32") == [3, 1]


@pytest.mark.parametrize(
    ("names", "more", "says"),
    [
        (["4"], {}, 'no exemption with id "4"; known: 1, 2, 3'),
        (["x" * 99], {}, "no exemption with id"),
        (["policy-1"], {}, "comes from the policy file /etc/policy.toml"),
        (
            [],
            {"destination": "2001:db8::/48"},
            "the exemption comes from the policy file /etc/policy.toml",
        ),
        ([], {"destination": "192.0.2.26"}, "no exemption for this device and destination"),
        ([], {"device": "x"}, 'device is "x"; allowed: a MAC'),
        ([], {"destination": "x"}, 'destination has "x"; allowed: an address or network'),
    ],
)
def test_chosen_wrongly(three: Contents, names: list[str], more: dict[str, str], says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        chosen(three, *names, **more)
    assert says in str(caught.value)


def test_nothing_to_choose_from() -> None:
    with pytest.raises(PolicyError, match="there are no exemptions"):
        chosen(Contents(), "1")


def test_descriptions() -> None:
    until = Exemption(None, ip_network("2001:db8::/48"), NOW, "")
    assert exemptions.describe(until) == "device any, destination 2001:db8::/48, until 2026-11-24 06:00:00 UTC"
    assert exemptions.describe(ONE) == (
        "device 02:00:00:12:34:56, destination 192.0.2.25, never expires (its own mail server)"
    )
