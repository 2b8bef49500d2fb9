"""Devices as bytes: restored devices continue as if nothing had happened; damaged bytes are refused as a unit."""

from __future__ import annotations

import base64
import itertools
import math
import random
import statistics
import struct
import zlib
from binascii import crc32
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpe_filter.detect import evidence, saved
from cpe_filter.detect.detector import Detector
from cpe_filter.detect.device import DEVICES, HOME, ROUTER, Collective, Device, Devices
from cpe_filter.detect.evidence import FAMILIES, SENDER_PROFILES
from cpe_filter.detect.saved import decode, encode
from cpe_filter.detect.score import CLEAR, COMPROMISED, MOST, SESSION_CLIP, Tally
from cpe_filter.detect.server_networks import BUCKETS, SIZE, WAYS, ServerNetworks, fingerprint
from cpe_filter.lean.checksum import CorruptStateError, checksum
from cpe_filter.status.devices import device_facts
from tests.evaluate.facts import Player, Session
from tests.evaluate.measure import one_device
from tests.evaluate.scenarios import SETS, seeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpe_filter.detect.score import Standing

DAY = 86400.0
SCENARIOS = [(which, name) for which, both in SETS.items() for name in (*both.legitimate, *both.bots)]


def sessions(which: str, name: str, most: int) -> list[Session]:
    kinds = SETS[which]
    rng = seeded(name, 11)
    stream = kinds.legitimate[name](rng, 120) if name in kinds.legitimate else kinds.bots[name](rng)
    return list(itertools.islice(stream, most))


def lived(which: str = "development", name: str = "classic-sprayer", most: int = 40) -> tuple[Detector, Device, float]:
    """A device with a history."""
    detector, device = one_device(name)
    player, time = Player(detector), 0.0
    for session in sessions(which, name, most):
        player.play(device, session)
        time = session.time
    player.until(time + 60)
    device.addresses = [bytes((192, 168, 1, 101)), *(b"\x20\x01\x0d\xb8" + bytes(11) + bytes((n,)) for n in range(7))]
    return detector, device, time + 60


def again(device: Device, time: float) -> Device:
    (device,) = decode(encode([device], time, 1), time).devices
    return device


def everything(device: Device) -> dict[str, object]:
    """All that is saved of a device, to compare."""
    names = set(Device.__slots__) - {
        "server_networks",
        "score",
        "helos",
        "seen_names",
        "burst",
        "busy",
        "hour",
        "buckets",
        "addresses",
    }
    rest = {name: getattr(device, name) for name in names}
    tallies = {
        n: (tally.count, pytest.approx(tally.weight, abs=1 / 256), tally.hits, tally.chances)
        for n, tally in device.score.tallies.items()
    }
    score = device.score
    return {
        **rest,
        "addresses": device.addresses[-saved.ADDRESSES :],
        "table": bytes(device.server_networks.table),
        "score": (score.standing, score.value, score.sums, score.nearest_profile, tallies),
    }


def test_all_of_a_device_comes_back() -> None:
    for which, name in (("development", "classic-sprayer"), ("development", "self-hosted"), ("hold-out", "doorbell")):
        _, device, time = lived(which, name)
        device.refused, device.mx_queries = 3, 70000
        before, after = everything(device), everything(again(device, time))
        for key in ("first_seen", "last_seen"):
            assert after.pop(key) == pytest.approx(before.pop(key), abs=1e-3)
        for key in ("suspected_at", "compromised_at"):
            one, other = before.pop(key), after.pop(key)
            assert (one is None) == (other is None)
            if isinstance(one, tuple):
                assert other == (pytest.approx(one[0], abs=1e-3), one[1])
        assert after == before
        assert again(device, time).score.families == device.score.families


def test_credits_are_kept_although_the_sums_are_full() -> None:
    device = Device(b"\2\0\0\0\0\1", 5.0)
    device.score.sums = [MOST] * len(SENDER_PROFILES)
    for _ in range(3):
        device.score.add("sender-rotates", SESSION_CLIP)
    assert device.score.families == ["identity"]
    (same,) = decode(encode([device], 5.0, 1), 5.0).devices
    assert same.score.families == ["identity"]
    assert same.score.credits == pytest.approx(device.score.credits, abs=0.1)


@pytest.mark.parametrize("families", [3, 12])
def test_credits_of_a_version_with_other_families(families: int) -> None:
    """New families come last."""
    device = Device(b"\2\0\0\0\0\1", 5.0)
    device.score.credits = [2.0] * families
    (same,) = decode(encode([device], 5.0, 1), 5.0).devices
    assert same.score.credits == [2.0] * min(families, len(FAMILIES)) + [0.0] * (len(FAMILIES) - families)


def test_size(capsys: pytest.CaptureFixture[str]) -> None:
    """A busy device takes about 1 KiB, most of it its table of neighbours; an ordinary one much less."""
    sizes = {name: len(saved._device(*lived(which, name, 1000)[1:])) for which, name in SCENARIOS}
    quiet = {name: len(saved._device(*lived(which, name, 20)[1:])) for which, name in SCENARIOS}
    with capsys.disabled():
        for what, found in (("20 sessions", quiet), ("1,000 sessions", sizes)):
            most = max(found, key=found.__getitem__)
            middle = statistics.median(found.values())
            print(f"\nbytes a device, {what}: median {middle:.0f}, max {found[most]} ({most})")
    assert statistics.median(sizes.values()) <= 1024
    assert max(sizes.values()) <= 1280
    assert max(quiet.values()) <= 640


def test_a_full_table_of_the_largest_devices_can_be_read() -> None:
    devices = []
    for n in range(DEVICES):
        device = Device(bytes(12) + n.to_bytes(2, "big"), 0.0)
        device.server_networks = ServerNetworks(b"\xff" * SIZE)
        device.score.tallies = {name: Tally(65535, -1e12) for name in evidence.INDICATORS}
        device.addresses = [bytes((k,)) * 16 for k in range(32)]
        device.suspected_at = device.compromised_at = (0.0, 1 << 60)
        device.connections = device.sessions = device.messages = device.recipients = device.refused = 1 << 60
        devices.append(device)
    data = encode(devices, 3e9, (1 << 56) - 1)
    assert len(data) / DEVICES < 2000
    assert len(decode(data, 3e9).devices) == DEVICES
    home = Collective(0.0)
    assert decode(encode([*devices, home], 3e9, 1), 3e9).devices[-1].key == HOME
    with pytest.raises(CorruptStateError, match="too many devices"):
        decode(encode([*devices, Device(b"\2\0\0\0\0\1", 0.0)], 3e9, 1), 3e9)


# ── going on ────────────────────────────────────────────────────────────────────────────────────────


def play(name: str, history: list[Session], split: int, how: str) -> list[tuple[Standing, float, tuple[float, ...]]]:
    """The standing, score and sums after each session. At `split` the filter is started again, or only forgets."""
    detector, device = one_device(name)
    player = Player(detector)
    out = []
    for number, session in enumerate(history):
        if number == split and how != "goes on":
            player.until(session.time)
            player._lost.clear()  # connections that run are not saved
            if how == "restart":
                device = again(device, session.time)
            else:
                device.helos.clear()
                device.seen_names = ([], [], [])
                device.burst.clear()
                device.hour, device.busy = (0.0, 0), []
                device.score.loose = None
                device.score._weigh()
        player.play(device, session)
        out.append((device.score.standing, device.score.value, tuple(device.score.sums)))
    return out


@pytest.mark.parametrize(("which", "name"), SCENARIOS)
def test_goes_on_exactly(which: str, name: str) -> None:
    """After a restart each score is exactly the same, except for what is documented as not saved."""
    rng = random.Random(f"split {name}")
    history = sessions(which, name, 300)
    for most in (8, 60, 300):
        split = rng.randrange(1, min(most, len(history)))
        assert play(name, history, split, "restart") == play(name, history, split, "forgets")


def test_what_is_not_saved_changes_little() -> None:
    """Against a filter that was never restarted: nearly all are convicted at the same connection, none much later."""
    rng = random.Random(3)
    runs = same = differ = later = 0
    for which, name in SCENARIOS:
        history = sessions(which, name, 250)
        for _ in range(2):
            split = rng.randrange(1, min(rng.choice((12, 250)), len(history)))
            restarted, through = play(name, history, split, "restart"), play(name, history, split, "goes on")
            one, other = (sum(step[0] != COMPROMISED for step in steps) for steps in (restarted, through))
            runs += 1
            same += one == other
            differ += (restarted[-1][0] == COMPROMISED) != (through[-1][0] == COMPROMISED)
            later += one > other + 10
    assert same / runs >= 0.9
    assert differ / runs <= 0.01
    assert later / runs <= 0.01


# ── other versions, other clocks ────────────────────────────────────────────────────────────────────


def test_another_table_of_indicators_and_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version reads what it still knows, in another order; what is new to it begins at nothing."""
    _, device, time = lived()
    data = encode([device], time, 1)
    known = dict(reversed(evidence.INDICATORS.items()))
    gone = known.pop("unknown-user")
    assert "unknown-user" in device.score.tallies
    known["brand-new"] = gone
    senders = ("brand-new sender", *reversed(evidence.SENDER_PROFILES[1:]))
    monkeypatch.setattr(saved, "INDICATORS", known)
    monkeypatch.setattr(saved, "SENDER_PROFILES", senders)
    (found,) = decode(data, time).devices
    assert found.score.standing == COMPROMISED
    assert {n: t.count for n, t in found.score.tallies.items()} == {
        n: t.count for n, t in device.score.tallies.items() if n != "unknown-user"
    }
    assert found.score.sums == [0.0, *reversed(device.score.sums[1:])]


def test_codes_of_an_earlier_version_count_as_today_s(monkeypatch: pytest.MonkeyPatch) -> None:
    _, device, time = lived()
    earlier = {new: old for old, new in evidence.RENAMED.items()}
    assert {"path-spaced", "dnsbl-listed", "no-quit"} <= set(device.score.tallies)
    with monkeypatch.context() as patch:
        patch.setattr(saved, "INDICATORS", {earlier.get(n, n): row for n, row in evidence.INDICATORS.items()})
        score = device.score
        patch.setattr(score, "tallies", {earlier.get(n, n): tally for n, tally in score.tallies.items()})
        data = encode([device], time, 1)
    assert b"listed" in data
    assert b"dnsbl-listed" not in data
    found = again(device, time)
    (read,) = decode(data, time).devices
    assert everything(read) == everything(found)


@pytest.mark.parametrize("jump", [-10 * 365 * DAY, -5.0, 10 * 365 * DAY])
def test_a_clock_that_jumped(jump: float) -> None:
    """No time is in the future, and between times there is what there was."""
    _, device, time = lived()
    time += 1.5e9
    device.first_seen += 1.5e9
    device.last_seen += 1.5e9
    now = time + jump
    (found,) = decode(encode([device], time, 1), now).devices
    assert found.last_seen <= now
    assert now - found.last_seen == pytest.approx(time - device.last_seen, abs=0.01)
    assert found.last_seen - found.first_seen == pytest.approx(device.last_seen - device.first_seen, abs=0.01)


def test_a_night_switched_off_counts() -> None:
    _, device, time = lived()
    (found,) = decode(encode([device], time, 1), time + 30000).devices
    assert found.last_seen == pytest.approx(device.last_seen, abs=0.01)


def test_times_that_make_no_sense_do_no_harm() -> None:
    device = Device(ROUTER, 5000.0)
    device.last_seen, device.suspected_at = 9e18, (-1e18, 1)  # seen in the future, suspected before all time
    found = again(device, 1000.0)
    assert found.last_seen == 1000.0
    assert found.first_seen <= found.last_seen
    assert found.suspected_at is not None
    assert found.suspected_at[0] > 1000.0 - 101 * 366 * DAY


#: A compromised device as version 1 wrote it, deflated: 2 connections at 1001 and 1002 s, to 2 unknown users.
_VERSION_1 = (
    b"c-nPRJ#Q2-5Z&DzcbEH)00|*LAQ1^gaRUt!1=~;{QP5KQ?Ae?ZukG05Bv-;8prZkaHYGoRf{x}CQA8A}kwA156e$qQ-rj|yV4C$C"
    b"KfQhP#=-$Blt%D319F7)LjLk;QdM)UMBXuQ5Huj&H-qrXVb?=Y5)3M?n_2|~*&5qu1o-VCv6+N`%5YTH^u2J%xDeoowy|=<#?c2H"
    b"3Tq4qWFCqbK%Qe%CD@3)324jY)bLV?8gMDeK&XN9YM(rh<{+BA$h9gI$j-b0rNe1W^tPHUi~<-5o~Rx)HRNE?SlkZ{IWtjfR`&;E"
    b"PJaB-UN4$mV-E}?;Cs@9v1WAwgBnCr!_i7c#4ylWD6}OM;62Db>cG%i7ADqX2e{W$hFtHC#>AJ*DF<{=X6G_xf+WRwflDh~w~a*>"
    b"N^~t_*<MuGbsQ%wI4($hK6Ax@iMBlnqVhoh(_wud{Fn(IU|4c9B{`v-BKdG}5rqnWn;UbX)lRqYwxqZsd08(HnYMN}x(=NR>p|_9"
    b"_Hx_ZYC^%ir+su+GxdOedj2RHmH9r8IH}?i)lxPVYh`dqg9myoX)~){WI9Mb4U;U%Dny@$zwgZ}SyX=K^^cRmmFxNT?9KDplUcsG"
    b"cRV>gJ<B(rHMZ_vd!OHaG5ZByk8}33|LE1#8%c60JGzyAUdz7pvXd;kpM4*ZEN1W8Y2(9D+M275l7A~r{#%cazcnAc{do2VbXgze"
)


def test_a_state_of_version_1_keeps_standing_and_counts_and_begins_the_score_anew() -> None:
    (device,) = decode(zlib.decompress(base64.b85decode(_VERSION_1)), 1002.0).devices
    assert device.key == b"\2\0\0\0\0\1"
    assert device.addresses == [bytes((192, 168, 1, 7))]
    assert (device.connections, device.recipients, device.networks) == (2, 2, 2)
    assert device.server_networks.look(fingerprint(bytes((198, 51, 2, 25)))) >= 0
    assert device.score.standing == COMPROMISED
    assert device.compromised_at == (1002.0, 2)
    assert not any(device.score.sums)
    assert device.score.tallies == {}
    assert decode(encode([device], 1002.0, 6), 1002.0).devices[0].score.standing == COMPROMISED


# ── broken ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_state_with_the_checksum_of_earlier_versions_is_read() -> None:
    """CRC-32: an upgrade must not forget who is compromised."""
    _, device, time = lived(most=12)
    body = encode([device], time, 1)[:-4]
    (found,) = decode(body + crc32(body).to_bytes(4, "big"), time).devices
    assert everything(found) == everything(again(device, time))
    with pytest.raises(CorruptStateError):
        decode(body + (crc32(body) ^ 1).to_bytes(4, "big"), time)


def test_every_cut_and_every_changed_byte_is_noticed() -> None:
    _, device, time = lived(most=12)
    data = encode([device], time, 1)
    for size in range(len(data)):
        with pytest.raises(CorruptStateError):
            decode(data[:size], time)
    for at in range(len(data)):
        with pytest.raises(CorruptStateError):
            decode(data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :], time)
    with pytest.raises(CorruptStateError):
        decode(data + b"\0", time)


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (lambda record: record + record, "duplicate device"),
        (lambda record: record + b"\0", "trailing bytes"),
        (lambda record: b"\5" + bytes(5) + record[7:], "without a key"),
        (lambda record: record[:7] + b"\x80" + record[8:], "truncated"),
        (lambda record: record[:8] + b"\xff" * 8 + record[9:], "unterminated number"),
        (lambda record: record[:8] + b"\xff" * 7 + record[9:], "older than a hundred years"),
        (lambda record: record[:17] + struct.pack(">d", math.nan) + record[25:], "not a number"),
        (lambda record: record[:17] + struct.pack(">d", -1.0) + record[25:], "not a number"),
        (lambda record: record[:-48] + b"\5" + record[-47:], "bucket overflow"),
        (lambda record: record[:-49] + b"\1\5" + bytes(5) + record[-48:], "address of a wrong length"),
    ],
)
def test_a_record_that_makes_no_sense(forged: Callable[[bytes], bytes], why: str) -> None:
    """With a good checksum: nothing that the table cannot hold gets in."""
    device = Device(b"\2\0\0\0\0\1", 5.0)
    record = saved._device(device, 5.0)  # key 7, flags 1, ages 2, counts 7, rejections_for_cause at 17
    data = encode([device], 5.0, 1)
    assert data[-4 - len(record) : -4] == record
    changed = forged(record)
    count = b"\2" if changed == 2 * record else b"\1"
    body = data[: -5 - len(record)] + count + changed
    with pytest.raises(CorruptStateError, match=why):
        decode(body + checksum(body).to_bytes(4, "big"), 5.0)


def test_unknown_version() -> None:
    data = bytearray(encode([], 1.0, 1))
    data[16] += 1
    data[-4:] = checksum(data[:-4]).to_bytes(4, "big")
    with pytest.raises(CorruptStateError, match="version 3; expected version 2"):
        decode(bytes(data), 1.0)


def test_too_large() -> None:
    with pytest.raises(CorruptStateError, match="too large"):
        decode(bytes(saved.MOST_BYTES + 1), 1.0)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(17, 10**6), st.binary(max_size=40), st.integers(0, 40))
def test_a_forged_checksum_gets_nobody_further(at: int, put: bytes, cut: int) -> None:
    """What is accepted is within bounds, and the detector and the status go on with it."""
    data = bytearray(_PLAIN)
    at = 17 + at % (len(data) - 17)
    data[at : at + cut] = put
    data[-4:] = checksum(data[:-4]).to_bytes(4, "big")
    try:
        devices = decode(bytes(data), _TIME).devices
    except CorruptStateError:
        return
    for device in devices:
        detector = Detector()
        connection = detector.opened(device, bytes(4), _TIME)
        detector.ended(connection, "lost", False, _TIME)
        assert device_facts(device)["standing"] in ("clear", "suspected", "compromised")
        assert again(device, _TIME).key == device.key


_, _DEVICE, _TIME = lived(most=12)
_PLAIN = encode([_DEVICE, Device(b"\2\0\0\0\0\7\xc0\xa8\7\5", _TIME)], _TIME, 7)


@pytest.mark.parametrize("count", range(WAYS + 1))
def test_a_bucket_takes_as_many_bytes_as_it_has_entries(count: int) -> None:
    table = bytearray(SIZE)
    for entry in range(count):
        table[2 * WAYS * 7 + 2 * entry : 2 * WAYS * 7 + 2 * entry + 2] = b"\x12\x34"
    packed = saved._packed_table(table)
    assert len(packed) == BUCKETS // 2 + 2 * count


def test_a_small_table_keeps_those_known_now() -> None:
    devices = Devices(2)
    known = devices.get(b"\2\0\0\0\0\1", 5.0)
    devices.restore([Device(bytes((2, 0, 0, 0, 0, n)), 1.0) for n in (1, 2, 3)])
    assert [device.key[5] for device in devices] == [1, 2]
    assert devices.find(known.key) is known
    assert known.score.standing == CLEAR
