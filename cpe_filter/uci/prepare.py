"""Before the service starts or reloads: everything that it starts from, as files in its folder.

Knows the last good policy, the rules of fail closed, the page's link, and when the filter cannot start yet. Must not
know procd: the init script reads the file `service`, a word and its value on each line:

    enabled 0          UCI switches the service off; there is no other line
    policy DIGEST      changes with the policy, with the ISP's documents over it
    hold REASON        the filter cannot start now; one that runs goes on
    mount PATH, mount_rw PATH   what is in the jail; none: no jail
    file PATH          the ISP's policy, which the policy is made from
    fetch EVERY FIRST  the ISP's documents are fetched (see provision); the arguments are in the file `fetch`
    enrol EVERY FIRST  the router's certificate is got and renewed (see enrol); the arguments are in the file `enrol`
    and the lines of service; without `run` there is no policy to start with, or no jail that is required

`notes` has a line for each thing that a user must know and that stops nothing; `config-error` says why UCI is not used.
"""

from __future__ import annotations

import hashlib
import os

from cpe_filter.enforce import process
from cpe_filter.inputs import printable
from cpe_filter.lean import files
from cpe_filter.lean.atomic_file import AtomicFile
from cpe_filter.lean.log import Line, err, notice, warning
from cpe_filter.outcome import UsageError
from cpe_filter.policy.file import load
from cpe_filter.policy.interfaces import matches
from cpe_filter.policy.model import Policy, PolicyError
from cpe_filter.policy.packages import provided
from cpe_filter.uci import enrol, jail, making, places, provision, service
from cpe_filter.uci.enrol import Enrol
from cpe_filter.uci.export import Section
from cpe_filter.uci.making import Made
from cpe_filter.uci.provision import Laid, Provision
from cpe_filter.uci.tables import UciError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Documents(Protocol):
        """Lays the ISP's documents of a folder over the policy in a file. Raises OSError."""

        def __call__(self, base: str, folder: str) -> Laid: ...


#: Seconds for which another process may write the policy.
_LOCK_S = 10.0
#: Networks whose devices are remembered.
_MOST_SEEN = 64


def run(documents: Documents | None = None) -> list[Line]:
    """Writes the files; returns what is new for the log. documents: None where their package is not installed.

    Raises OSError where its own folder cannot be written.
    """
    os.makedirs(places.at(places.RUN), exist_ok=True)
    known = [*_lines(places.NOTES), *_lines(places.CONFIG_ERROR)]
    wanted = jail.ON
    news: list[Line] = []
    failed: list[Line] = []
    wish, certificate = Provision(), Enrol()
    try:
        sources = making.read_sources(_seen())
        main = making.service_section(sources)
        if not main.flag("enabled", True):
            _switch_off()
            return []
        wanted, wish, certificate = _jail_setting(main), making.provisioned(sources), making.enrolled(sources)
        made: Made | None = making.make(sources, making.configured(sources))
        _remove(places.run(places.CONFIG_ERROR))
    except UciError as error:
        text = printable(str(error))
        made, news = _good_before(text)
        news = [] if text in known else news
        _write(places.CONFIG_ERROR, f"{text}\n")
    else:
        failed = _keep(made, sources.digest()) if made else []
    if made is None:
        _write(places.SERVICE, "enabled 1\n")
        _write(places.NOTES, "")
        return news
    # `policy fetch` writes the policy, too: whoever is last knows what both know.
    lock = files.lock_folder(places.at(places.RUN), _LOCK_S)
    try:
        made, lasting, fetched = _with_documents(made, wish, documents)
        _write(places.POLICY, made.text)
    finally:
        if lock >= 0:
            os.close(lock)
    policy, lacks = provided(made.policy)
    notes = [*made.notes, *made.hints(), *failed, *(warning(text) for text in lacks)]
    lines, notes = _service(made._replace(policy=policy, notes=notes), wanted)
    lines += [*fetched, *_enrolling(certificate, policy, documents is not None, notes)]
    _write(places.SERVICE, "".join(f"{line}\n" for line in lines))
    _write(places.NOTES, "".join(f"{printable(note)}\n" for note in notes))
    _write(places.DEVICES, "".join(f"{name} {made.seen[name]}\n" for name in list(made.seen)[:_MOST_SEEN]))
    _link_page(os.path.dirname(policy.notice.page))
    # A boot has only what is in force: a document that was being tried does not outlive its trial.
    news += _place_rules(provided(lasting)[0])
    return news + [note for note in notes if printable(note) not in known]


def _jail_setting(main: Section) -> str:
    if main.text("jail") == jail.REQUIRED:
        return jail.REQUIRED
    return jail.ON if main.flag("jail", True) else jail.OFF


def _switch_off() -> None:
    _remove(places.run(places.CONFIG_ERROR))
    _remove(places.run(places.NOTES))
    _write(places.SERVICE, "enabled 0\n")
    _link_page("")


# ── the ISP's documents ─────────────────────────────────────────────────────────────────────────────


def _with_documents(made: Made, wish: Provision, documents: Documents | None) -> tuple[Made, Policy, list[str]]:
    """The policy with the documents over it; the one for a boot; and the lines of fetching.

    The router's own policy is written where `policy fetch` finds it; without it no document is applied.
    """
    if documents is None or not wish.enabled:
        _remove(places.run(places.OWN))
        if wish.enabled and wish.urls:
            lack = warning(
                "provision.url: no signed document is fetched until the package cpe-filter-report is installed"
            )
            made = made._replace(notes=[*made.notes, lack])
        return made, made.policy, []
    _write(places.OWN, made.text)
    if not wish.urls and not os.path.isdir(places.at(places.PROVISION)):
        return made, made.policy, []  # what reads documents takes time and memory to load
    try:
        laid = documents(places.run(places.OWN), places.at(places.PROVISION))
    except (OSError, UsageError) as error:
        why = f"{places.PROVISION}: {error.strerror}" if isinstance(error, OSError) else printable(str(error))
        note = err(f"the ISP's documents are left out: {why}")
        return made._replace(notes=[*made.notes, note]), made.policy, []
    lines = provision.lines(wish, laid.router)
    if lines:
        _write(places.FETCH, "".join(f"{word}\n" for word in provision.arguments(wish)))
    notes = [*made.notes, *(err(f"the ISP's {printable(text)}") for text in laid.problems)]
    chosen = made.chosen or laid.policy.filter.mode != made.policy.filter.mode
    made = made._replace(policy=laid.policy, text=laid.text or made.text, notes=notes, chosen=chosen)
    return made, laid.lasting, lines


# ── the router's certificate ────────────────────────────────────────────────────────────────────────


def _enrolling(wish: Enrol, policy: Policy, installed: bool, notes: list[Line]) -> list[str]:
    """The lines of enrolment. installed: its package, which has the documents, too."""
    line, words = enrol.started(wish, policy)
    if not line:
        return []
    if not installed:
        notes.append(warning("enrol.url: no certificate is got until the package cpe-filter-report is installed"))
        return []
    _write(places.ENROL, "".join(f"{word}\n" for word in words))
    return [line]


# ── the policy before ───────────────────────────────────────────────────────────────────────────────


def _good_before(error: str) -> tuple[Made | None, list[Line]]:
    """The policy to go on with, where UCI gives none; and lines for the log."""
    own = places.run(places.OWN)
    before = own if os.path.exists(own) else places.run(places.POLICY)
    for path, line in (
        (before, err(f"configuration not used, the policy stays as it was: {error}")),
        (places.at(places.LAST), err(f"configuration not used, the last good policy is: {error}")),
    ):
        try:
            policy = load(path)
        except PolicyError:
            continue
        return Made(policy, places.read(path), [], _seen(), ""), [line]
    return None, [err(f"configuration not used, and there is no good one from before, so nothing is filtered: {error}")]


def _keep(made: Made, digest: str) -> list[Line]:
    """Keeps the policy for a boot with bad UCI. Written when the configuration has changed, not when an interface came
    or went, because it is on flash."""
    path = places.at(places.LAST)
    of = hashlib.sha256(made.text).hexdigest()[:32] if made.file else digest
    head = f"# of {of}\n".encode()
    if places.read(path, len(head)) == head:
        return []
    try:
        files.replace(path, head + made.text)
    except OSError as error:
        return [warning(f"the policy cannot be kept for the next boot: {path}: {error.strerror}")]
    return []


# ── what the service starts from ────────────────────────────────────────────────────────────────────


def _service(made: Made, wanted: str) -> tuple[list[str], list[Line]]:
    """The lines of the file `service`, and notes."""
    policy, notes = made.policy, [*made.notes]
    lines = [*service.lines(policy), f"policy {hashlib.sha256(made.text).hexdigest()[:16]}"]
    if made.file:
        lines.append(f"file {printable(made.file)}")
    hold, forbidden = _missing(policy), ""
    if wanted != jail.OFF:
        written, read = _values(lines, "write"), _values(lines, "read")
        if places.RUN not in written:  # the folder: a file that is replaced would not be seen in the jail
            read.append(places.RUN)
        _make_folders((*written, *read))
        plan = jail.plan(written, read)
        lines += [f"mount {path}" for path in plan.mounts] + [f"mount_rw {path}" for path in plan.writable]
        notes += [
            warning(f"{folder} cannot be mounted in the jail: names in lease files there are not read")
            for folder in plan.left_out
        ]
        if plan.reason and wanted == jail.REQUIRED:
            forbidden = f"main.jail is required, and there is none: {plan.reason}"
        elif plan.reason and plan.reason != jail.NOT_INSTALLED:
            notes.append(warning(f"not in a jail: {plan.reason}"))
    if hold:
        lines.append(f"hold {printable(hold)}")
        hold = "" if _runs(lines[0]) else hold
    if forbidden:
        del lines[0]  # also ends one that runs
        notes.append(err(f"the filter is not started: {forbidden}"))
    elif hold:
        notes.append(notice(f"the filter is not started: {hold}"))
    return lines, notes


def _runs(line: str) -> bool:
    """Whether a filter runs that needs no new start. line: `run DIGEST`, as it has to be now."""
    number = places.read(places.run(places.PID), 10).strip()
    return number.isdigit() and os.path.exists(f"/proc/{int(number)}") and line in _lines(places.SERVICE)


def _values(lines: list[str], word: str) -> list[str]:
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]


def _missing(policy: Policy) -> str:
    """Why the filter cannot start yet: it needs a device of the home, and one of the Internet."""
    try:
        present = os.listdir(places.at(f"{places.SYS}/class/net"))
    except OSError:
        present = []
    for names in (policy.network.lan, policy.network.wan):
        if not any(matches(one, names) for one in present):
            return f"waiting for the interface {' or '.join(names)}"
    return ""


# ── the page, and the rules of fail closed ──────────────────────────────────────────────────────────


def _link_page(folder: str) -> None:
    """The subscriber's page is in tmpfs. uhttpd finds it through a link, unless there is something else in its place.
    The link is on flash, so it is written only if it has changed."""
    link = places.at(places.PAGE)
    try:
        if os.path.islink(link):
            if folder and os.readlink(link) == folder:
                return
            os.unlink(link)
        if folder and os.path.isdir(os.path.dirname(link)) and not os.path.lexists(link):
            os.symlink(folder, link)
    except OSError:
        pass  # a flash that cannot be written; the filter does not need it


def _place_rules(policy: Policy) -> list[Line]:
    """In fail closed, puts the rules into the kernel and, if the service is enabled, where fw4 finds them at boot and
    at its restart. They are tried before, because a rule that the kernel refuses would keep fw4 from loading its own.
    """
    path, new = places.at(places.RULES), places.run("rules.new")
    if policy.filter.fail != "closed":
        _remove(path)
        return []
    from cpe_filter.enforce.ruleset import render
    from cpe_filter.enforce.ruleset_names import NATIVE, TABLE

    rules = render(policy, NATIVE).encode()
    _write("rules.new", rules)
    try:
        if not _nft("-c", "-f", new):
            _remove(path)
            return [
                err(
                    "fail is closed, and the kernel does not take the rules: mail can leave while the filter does not "
                    "run"
                )
            ]
        if not os.path.lexists(places.at(places.ENABLED)):
            _remove(path)
        elif places.read(path) != rules:  # flash: only what is new is written
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _replace(path, rules)
        if not _nft("list", "table", "inet", TABLE):
            _nft("-f", new)
    except OSError as error:
        return [err(f"the rules of fail closed are not where the firewall finds them: {path}: {error.strerror}")]
    finally:
        _remove(new)
    return []


def _nft(*words: str) -> bool:
    try:
        return process.run("nft", *words).code == 0
    except OSError:
        return False


# ── files ───────────────────────────────────────────────────────────────────────────────────────────


def _seen() -> dict[str, str]:
    """The devices that networks had."""
    pairs = [line.split(" ") for line in _lines(places.DEVICES)[:_MOST_SEEN]]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _lines(name: str) -> list[str]:
    return places.read(places.run(name)).decode("utf-8", "replace").splitlines()


def _make_folders(folders: tuple[str, ...]) -> None:
    for folder in folders:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError:
            pass  # ujail leaves out what is missing


def _write(name: str, content: str | bytes) -> None:
    """A file of the service's folder. Raises OSError."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if places.read(places.run(name)) != data or not os.path.exists(places.run(name)):
        _replace(places.run(name), data)


def _replace(path: str, data: bytes) -> None:
    file = AtomicFile(path, mode=0o644)
    file.write(data)
    file.finish()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
