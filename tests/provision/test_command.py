"""`cpe-filter policy`, with signed documents: applied, confirmed, taken back, refused; the file that `run` reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cpe_filter.collect import policy_bundle, signing
from cpe_filter.outcome import UsageError
from cpe_filter.policy import file as policy_file
from cpe_filter.provision import command, judge, place, trial
from cpe_filter.provision.folder import Folder
from cpe_filter.provision.place import Place
from tests.signed import making

BASE = '[filter]\nmode = "block"\n[network]\nlan = ["br-lan"]\nwan = ["wan"]\n'
OF_REPORT = '[report]\nuser = "nobody"\n'
GOOD = '[filter]\nmode = "monitor"\n'


class Router:
    """A router's files, a filter that takes reloads, and the ISP's keys."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp = tmp_path
        self.now = int(time.time())
        self.key = making.key("isp")
        (tmp_path / "base.toml").write_text(OF_REPORT + BASE)
        keys = making.folder_of(tmp_path, policy=self.key, desk=making.key("desk"), detector=making.key("detector"))
        self.place = Place(
            str(tmp_path / "base.toml"), str(tmp_path / "run" / "policy.toml"), str(tmp_path / "provision"), keys,
            "box-1", "north", 0.3, 0.05,
        )  # fmt: skip
        self.folder = Folder(str(tmp_path / "provision" / "policy"))
        self.works: Callable[[], trial.Looks] = lambda: {"filter": True, "rules": True}
        self.reloads: list[str] = []
        self.takes = True
        self.state: Callable[[], str] = lambda: self.mode
        self.boot, self.uptime = "b1", 100.0
        monkeypatch.setattr(trial, "look", lambda policy, relays: self.works())
        monkeypatch.setattr(trial, "LOOK_S", 0.05)
        monkeypatch.setattr(place, "boot", lambda: self.boot)
        monkeypatch.setattr(place, "uptime", lambda: self.uptime)
        monkeypatch.setattr(judge, "synchronised", lambda: True)

    def reload(self) -> int:
        self.reloads.append(self.state())
        return 0 if self.takes else 1

    def document(self, content: str = GOOD, key: signing.SecretKey | None = None, **changes: object) -> Path:
        """key: the one that signs its type, if it is left out. The same document each time."""
        now = self.now
        if key is None and changes.get("type", "policy") != "policy":
            key = making.key("detector")
        header = signing.Header("policy", 7, now - 60, now + 86400, ("*",))._replace(**changes)  # type: ignore[arg-type]
        path = self.tmp / f"{header.sequence}.signed"
        path.write_bytes((key or self.key).sign((signing.header(header) + content).encode()))
        return path

    def apply(self, path: Path) -> int:
        return command.apply(str(path), self.place, self.reload)

    @property
    def mode(self) -> str:
        """Of the policy that `run` reads."""
        return policy_file.load(self.place.out).filter.mode


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(tmp_path, monkeypatch)


def test_applied_and_confirmed(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.make(router.place) == 0
    assert router.mode == "block"
    document = router.document()
    assert router.apply(document) == 0
    assert (router.mode, router.reloads) == ("monitor", ["monitor"])
    assert "policy 7 is in force" in capsys.readouterr().out
    assert router.apply(document) == 0
    assert "in force already" in capsys.readouterr().out
    router.boot = "b2"
    assert command.make(router.place) == 0
    assert router.mode == "monitor"
    assert command.status(router.place) == 0
    assert "in force:  policy 7, " in capsys.readouterr().out


@pytest.mark.parametrize("how", ["rules", "reload"])
def test_taken_back(router: Router, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    router.apply(router.document(sequence=3))
    capsys.readouterr()
    router.works = lambda: {"filter": True, "rules": how != "rules" or router.mode == "monitor"}
    router.takes = how != "reload"
    document = router.document('[filter]\nmode = "limit"\n', sequence=8)
    assert router.apply(document) == 4
    assert router.mode == "monitor"
    assert router.reloads[-1] == "monitor"
    assert f"policy 8 was taken back: {how}" in capsys.readouterr().err
    router.takes, router.works = True, lambda: {"filter": True, "rules": True}
    assert router.apply(document) == 2
    assert "it was tried before and taken back" in capsys.readouterr().err
    # A later one with the same content is another document.
    assert router.apply(router.document('[filter]\nmode = "limit"\n', sequence=9)) == 0


def test_what_is_refused_changes_nothing(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    router.apply(router.document(sequence=5))
    now = int(time.time())
    tampered = router.document(sequence=20)
    data = tampered.read_bytes()
    cases: list[tuple[str, Path | None, str]] = [
        ("key", router.document(key=making.key("other"), sequence=21), "key"),
        ("purpose", router.document(key=making.key("desk"), sequence=22), "purpose"),
        ("old", router.document(sequence=4), "sequence"),
        ("expired", router.document(sequence=23, issued=now - 9, expires=now - 1), "expired"),
        ("others", router.document(sequence=24, audience=("model:other",)), "audience"),
        ("agent", router.document(sequence=25, min_agent="99.0"), "agent"),
        ("unknown key", router.document('[filter]\nmod = "limit"\n', sequence=26), "content"),
        ("local", router.document('[network]\nlan = ["eth7"]\n', sequence=27), "content"),
        ("deep", router.document("x = " + "[" * 500 + "]" * 500, sequence=28), "toml"),
        ("both", router.document('[network]\nwan = ["br-lan"]\n', sequence=29), "content"),
    ]  # fmt: skip
    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in Path(router.folder.path).iterdir()}
    for name, path, code in cases:
        assert path is not None
        assert router.apply(path) == 2, name
        error = capsys.readouterr().err
        assert error.endswith(f"({code}); the policy stays as it was\n"), (name, error)
        assert len(error.splitlines()) == 1
    for at in range(data.index(b"\n") + 1, len(data)):  # the comment is not signed
        tampered.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert router.apply(tampered) == 2, at
    capsys.readouterr()
    after = {path.name: path.read_bytes() for path in Path(router.folder.path).iterdir()}
    assert (before["good"], router.mode) == (after["good"], "monitor")


def test_clocks_of_1970_and_2106(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is not synchronised judges no date; a synchronised one does, and what is in force stays."""
    first, second = router.document(sequence=6), router.document(sequence=7)
    for wrong, synchronised, document, code in (
        (0.0, False, first, 0),
        (4.3e9, True, second, 2),
        (0.0, True, second, 2),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(judge, "synchronised", lambda answer=synchronised: answer)
            patch.setattr(time, "time", lambda answer=wrong: answer)
            assert router.apply(document) == code
            assert command.make(router.place) == 0
        assert router.mode == "monitor"


def test_a_staged_rollout_reaches_its_part(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    assert router.apply(router.document(sequence=3, rollout_permille=0, salt="a")) == 5
    assert "not for this one yet" in capsys.readouterr().out
    assert not Path(router.place.out).exists()
    assert router.apply(router.document(sequence=4, rollout_permille=999, salt="a")) in (0, 5)


def test_an_old_key_goes_and_the_policy_stays(router: Router) -> None:
    router.apply(router.document())
    for path in Path(router.place.keys, "policy").iterdir():
        path.unlink()
    router.boot = "b2"
    assert command.make(router.place) == 0
    assert router.mode == "monitor"


def test_a_trial_that_was_cut_is_begun_again_once(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    """The process is killed in the trial, or the router restarts."""

    def cut(document: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            command.apply(str(document), router.place, killed)
        assert router.mode == "monitor"  # its trial goes on
        router.uptime += 1000
        assert command.make(router.place) == 0
        assert router.mode == "block"

    document = router.document()
    cut(document)
    cut(document)
    assert router.apply(document) == 2
    assert "was stopped, twice while it was tried" in capsys.readouterr().err
    once = router.document(sequence=8)
    cut(once)
    assert router.apply(once) == 0
    assert router.mode == "monitor"


def test_the_routers_own_policy_changes_under_it(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    """What no longer fits is left out, and comes back when it fits again."""
    router.apply(router.document('[network]\nrelays = ["192.0.2.9"]\n'))
    base = Path(router.place.base)
    base.write_text(BASE + 'relays = ["192.0.2.1"]\n')
    assert command.make(router.place) == 0
    assert 'relays = ["192.0.2.9"]' in Path(router.place.out).read_text()
    base.write_text("rubbish")
    with pytest.raises(UsageError, match="not TOML"):
        command.make(router.place)


def test_rollback(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.roll_back(router.place, router.reload) == 2
    router.apply(router.document(sequence=3))
    router.apply(router.document('[filter]\nmode = "limit"\n', sequence=4))
    assert router.mode == "limit"
    assert command.roll_back(router.place, router.reload) == 0
    assert (router.mode, router.reloads[-1]) == ("monitor", "monitor")
    assert router.apply(router.tmp / "4.signed") == 2


def test_two_at_once(router: Router) -> None:
    def meanwhile() -> int:
        with pytest.raises(UsageError, match="already running"):
            command.apply(str(router.tmp / "7.signed"), router.place, router.reload)
        return 0

    router.place = router.place._replace(limit_s=20.0)  # the other one waits for some seconds
    document = router.document()
    assert command.apply(str(document), router.place, meanwhile) == 0


def test_signed_at_the_isp_and_shown(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    key = router.tmp / "isp.sec"
    key.write_bytes(router.key.secret)
    key.chmod(0o600)
    policy = router.tmp / "isp.toml"
    policy.write_text(GOOD)
    asked = policy_bundle.Asked(str(policy), str(key), 40, 30, ("region:north",), 10, "spring")
    document, lines = policy_bundle.sign(asked)
    assert lines[0].startswith("policy 40 for region:north, 10 of 1000 of these, until 20")
    assert lines[1:] == ["  [filter] mode: (the router's) -> 'monitor'"]
    path = router.tmp / "40.signed"
    path.write_bytes(document)
    assert command.show(str(path), router.place) == 0
    shown = capsys.readouterr().out
    assert "Policy 40" in shown
    assert "for region:north; 10 of 1000" in shown
    policy.write_text('[filter]\nmode = "limit"\nescalate = false\n')
    _, lines = policy_bundle.sign(asked._replace(sequence=41, last=str(path)))
    assert lines[1:] == [
        "  [filter] escalate: (the router's) -> False",
        "  [filter] mode: 'monitor' -> 'limit'",
    ]
    for text, said in (
        ('[filter]\nmode = "blok"\n', 'mode is "blok"'),
        ('[network]\nlan = ["x"]\n', "lan belongs to the router"),
        ("x", "not TOML"),
    ):
        policy.write_text(text)
        with pytest.raises(policy_bundle.BundleError, match=said):
            policy_bundle.sign(asked)
    policy.write_text(GOOD)
    for change, said in (
        ({"sequence": 40, "last": str(path)}, "more than the last document's, 40"),
        ({"salt": ""}, "rollout_permille needs salt"),
        ({"audience": ("everybody",)}, "audience"),
        ({"key": str(policy)}, "isp.toml"),
        ({"policy": "/nowhere"}, "No such file"),
    ):
        with pytest.raises(policy_bundle.BundleError, match=said):
            policy_bundle.sign(asked._replace(**change))


def test_another_comment_is_the_same_document(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    """The comment is not signed: a web server could have it tried again and again, and `former` be lost."""
    router.apply(router.document(sequence=3))
    document = router.document('[filter]\nmode = "limit"\n', sequence=4)
    router.apply(document)
    router.reloads.clear()
    capsys.readouterr()
    data = document.read_bytes()
    document.write_bytes(data.replace(b"signed by", b"SIGNED BY", 1))
    assert document.read_bytes() != data
    assert router.apply(document) == 0
    assert "policy 4 is in force already" in capsys.readouterr().out
    assert router.reloads == []
    assert command.roll_back(router.place, router.reload) == 0
    assert router.mode == "monitor"


@pytest.mark.parametrize("when", ["in the reload", "in a look"])
def test_the_routers_own_policy_breaks_in_a_trial(
    router: Router, when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then the policy before comes back as it was."""
    router.apply(router.document(sequence=3))
    before = Path(router.place.out).read_bytes()
    looks: list[int] = []

    def works() -> trial.Looks:
        looks.append(1)
        if when == "in a look" and len(looks) > 1:
            Path(router.place.base).write_text("rubbish")
        return {"filter": True, "rules": len(looks) == 1}

    def reload() -> int:
        code = router.reload()
        if when == "in the reload":
            Path(router.place.base).write_text("rubbish")
        return code

    router.works = works
    document = router.document('[filter]\nmode = "limit"\n', sequence=4)
    assert command.apply(str(document), router.place, reload) == 4
    assert Path(router.place.out).read_bytes() == before
    assert router.reloads == ["monitor", "limit", "monitor"]
    assert "policy 4 was taken back" in capsys.readouterr().err


def test_a_service_that_is_slow_takes_time_of_the_trial(router: Router, capsys: pytest.CaptureFixture[str]) -> None:
    router.place = router.place._replace(limit_s=0.3, settle_s=0.2)

    def slow() -> int:
        time.sleep(0.4)
        return 0

    assert command.apply(str(router.document()), router.place, slow) == 4
    assert "was taken back: time" in capsys.readouterr().err


def test_there_is_a_policy_at_a_boot_whatever_the_flash_does(
    router: Router, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else there would be no filter."""
    router.apply(router.document(sequence=3))
    Folder(router.folder.path).begin(router.document(sequence=4).read_bytes(), "b1", 1000.0)
    router.boot = "b2"

    def fails(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "was_cut", fails)
        assert command.make(router.place) == 0
    assert "Read-only file system" in capsys.readouterr().err
    assert router.mode == "monitor"
    Path(router.folder.path, "good").chmod(0o666)
    assert command.make(router.place) == 4
    assert router.mode == "block"
    assert "the ISP's policy is left out: " in capsys.readouterr().err


def test_the_routers_own_policy_changes_so_that_what_is_tried_does_not_fit(
    router: Router, capsys: pytest.CaptureFixture[str]
) -> None:
    def reload() -> int:
        many = "".join(f'[[exempt]]\ndestination = "192.0.{n // 256}.{n % 256}"\n' for n in range(1024))
        Path(router.place.base).write_text(BASE + many)
        return 0

    document = router.document('[[exempt]]\ndestination = "198.51.100.1"\n')
    assert command.apply(str(document), router.place, reload) == 4
    assert "(content)" in capsys.readouterr().err
    assert router.folder.good is None


def killed() -> int:
    raise KeyboardInterrupt


def test_a_killed_trial_ends_before_a_download(router: Router) -> None:
    """What was tried may be why nothing can be fetched; or the server has nothing new."""
    router.apply(router.document(sequence=3))
    document = router.document('[filter]\nmode = "limit"\n', sequence=4)
    with pytest.raises(KeyboardInterrupt):
        command.apply(str(document), router.place, killed)
    assert router.mode == "limit"
    assert command.fetch(["https://127.0.0.1:1/x"], "", 0, router.place, router.reload) == 1
    assert (router.mode, router.reloads[-1]) == ("monitor", "monitor")
    assert router.apply(document) == 0


def test_rollback_while_a_killed_trial_is_left(router: Router) -> None:
    router.apply(router.document(sequence=3))
    router.apply(router.document('[filter]\nmode = "limit"\n', sequence=4))
    with pytest.raises(KeyboardInterrupt):
        command.apply(str(router.document('[filter]\nmode = "block"\n', sequence=5)), router.place, killed)
    assert command.roll_back(router.place, router.reload) == 0
    assert (router.mode, router.reloads[-1]) == ("monitor", "monitor")
    assert not router.folder.is_unfinished


def test_a_rollback_that_was_cut_does_not_refuse_what_is_in_force(router: Router) -> None:
    """The power went between its two steps: `former` and `good` are the same."""
    router.apply(router.document(sequence=3))
    router.apply(router.document('[filter]\nmode = "limit"\n', sequence=4))
    folder = Path(router.folder.path)
    (folder / "good").write_bytes((folder / "former").read_bytes())
    assert command.roll_back(router.place, router.reload) == 2
    assert router.apply(router.tmp / "3.signed") == 0


@pytest.mark.parametrize("how", ["revoked", "removed"])
def test_a_stolen_key_does_not_use_up_the_numbers(router: Router, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """While both keys are trusted, older documents of either are refused; then only those of the one that is left."""
    stolen = making.key("stolen")
    making.folder_of(router.tmp, policy=(router.key, stolen))
    assert router.apply(router.document(sequence=5)) == 0
    assert router.apply(router.document('[filter]\nmode = "limit"\n', key=stolen, sequence=1 << 53)) == 0
    good = router.document(sequence=6)
    assert router.apply(good) == 2
    assert "its sequence is 6; 9007199254740992 is in force (sequence)" in capsys.readouterr().err
    number = stolen.number.hex()
    if how == "revoked":
        Path(router.place.keys, "revoked").write_text(f"{number}\n")
    else:
        Path(router.place.keys, "policy", f"{number}.pub").unlink()
    assert router.apply(router.document(sequence=4)) == 2
    assert router.apply(good) == 0
    assert router.mode == "monitor"
    assert router.apply(router.tmp / f"{1 << 53}.signed") == 2


def test_which_file_cannot_be_read(router: Router) -> None:
    router.apply(router.document(sequence=3))
    good = Path(router.folder.path, "good")
    good.chmod(0o666)
    with pytest.raises(OSError, match="Others can write to it") as raised:
        command.status(router.place)
    assert raised.value.filename == str(good)
