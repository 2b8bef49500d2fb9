"""`cpe-filter enrol`: a certificate for this router, if it has none or its own is near its end.

Composes pair, est and libcrypto. Must not know what is reported. Whatever goes wrong, the pair that was there stays.

Which identity is shown: the router's own certificate for a renewal; without one, or if the server does not accept it
any more, the factory's certificate, the factory's key, or a one-time token, whichever there is. The new key is made,
and the factory's key is used, in child processes; another one, without root's rights, talks to the server.

When a certificate is renewed: after two thirds of its life, each router at its own point of the next twelfth. A clock
that is not synchronised decides nothing: then the server's time counts, which it says in each answer.
"""

from __future__ import annotations

import binascii
import os
import time

from cpe_filter.enrol import est
from cpe_filter.enrol.est import Answer, EstError, Server
from cpe_filter.enrol.pair import Pair
from cpe_filter.enrol.protocol import SCHEME, factory_text
from cpe_filter.lean import files
from cpe_filter.lean.files import already_running, lock_folder
from cpe_filter.lean.forked import CallFailedError, call
from cpe_filter.lean.named_tuple import NamedTuple
from cpe_filter.lean.sha256 import sha256
from cpe_filter.lean.spread import place_of
from cpe_filter.outcome import EXIT_OK, UsageError, complain
from cpe_filter.policy.model import Policy
from cpe_filter.report.certificate import MOST_BYTES, Certificate, CertificateError, parse
from cpe_filter.report.clock_state import synchronised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Exit status: the server gave no certificate; what was there stays.
EXIT_NOT_ISSUED = 1
_MAX_TOKEN = 512
#: Seconds that the clock of the authority may be ahead.
_AHEAD_S = 86400


class Way(NamedTuple):
    """What this router is known by. url, ca: of the server. router: its id, "" for that of its certificate. The rest:
    files, "" for none."""

    url: str
    ca: str
    router: str = ""
    factory_key: str = ""
    factory_certificate: str = ""
    token: str = ""


class NoKeyError(Exception):
    """A key that cannot be made or used. One line."""


def run(policy: Policy, way: Way, now: bool) -> int:
    """now: also if it is not due. Raises `UsageError`, OSError."""
    pair = Pair(policy.report.certificate, policy.report.key)
    os.makedirs(os.path.dirname(pair.certificate) or ".", exist_ok=True)
    lock = lock_folder(os.path.dirname(pair.certificate) or ".", 2.0)
    if lock < 0:
        raise UsageError(f"enrol: {already_running(-1)}")
    try:
        return _run(pair, Server(way.url, way.ca or policy.report.ca, policy.report.user), way, now)
    except (EstError, NoKeyError) as error:
        complain(f"enrol: {error}; nothing has changed")
        return EXIT_NOT_ISSUED
    finally:
        os.close(lock)


def _run(pair: Pair, server: Server, way: Way, now: bool) -> int:
    held = pair.held()
    router = way.router or (held.name if held else "")
    if not router:
        raise UsageError("enrol: the router has no certificate yet; --id says its id")
    if held is not None and not now:
        clock = _clock(est.ask(server, "", b"", b"").date if not synchronised() else 0)
        if not clock:
            raise EstError(f"{server.url}: says no time, and this router's clock is not synchronised")
        left = renew_at(held, router) - clock
        if left > 0:
            print(f"the certificate of {held.name} ends on {_day(held.ends)}; the next is due in {left:.0f} s")
            return EXIT_OK
    request, key = _request(pair, router)
    answer = _asked(pair if held else None, server, way, router, request, key)
    if answer.status != 200:
        raise EstError(f"{server.url}: answered {answer.status}: {answer.why}" if answer.status else answer.why)
    made = _judged(answer, router, _clock(answer.date))
    pair.finish(answer.chain)
    print(f"certificate of {router}, until {_day(made.ends)}")
    return EXIT_OK


def _clock(date: int) -> int:
    """POSIX seconds: this router's clock where it is synchronised, or what the server says; 0 if neither is known."""
    return int(time.time()) if synchronised() else date


def renew_at(held: Certificate, router: str) -> float:
    """POSIX seconds: two thirds of its life, and up to a twelfth more, by the router's id."""
    share = place_of(router.encode(), b"renew")
    return held.begins + (held.ends - held.begins) * (2 / 3 + share / 12)


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _asked(own: Pair | None, server: Server, way: Way, router: str, request: bytes, key: bytes) -> Answer:
    """The answer of the first identity that the server accepts."""
    answer = Answer(0, "there is no identity to show: no certificate, factory key or token", "", b"", 0)
    if own is not None:
        answer = est.ask(server, "simplereenroll", request, key, "", (own.certificate, own.key))
        if answer.status not in (0, 401, 403):
            return answer
    # It is not accepted any more: it has expired, or the authority is another one.
    if way.factory_certificate:
        answer = est.ask(server, "simpleenroll", request, key, "", (way.factory_certificate, way.factory_key))
    elif way.factory_key:
        answer = _by_factory_key(server, way.factory_key, router, request, key)
    elif way.token:
        words = f"{router}:{_token(way.token)}".encode()
        basic = "Basic " + binascii.b2a_base64(words, newline=False).decode()
        answer = est.ask(server, "simpleenroll", request, key, basic)
    return answer


def _by_factory_key(server: Server, path: str, router: str, request: bytes, key: bytes) -> Answer:
    first = est.ask(server, "simpleenroll", request, key)
    if first.status != 401 or not first.nonce:
        return first if first.status != 200 else Answer(0, f"{server.url}: asked for no factory key", "", b"", 0)
    text = factory_text(est.host_of(server.url), router, first.nonce, sha256(request).hexdigest())

    def signed() -> tuple[bytes, bytes]:
        from cpe_filter.enrol.libcrypto import Crypto

        crypto = Crypto()
        pem = _secret(path)
        return crypto.public(pem), crypto.sign(pem, text)

    public, signature = (_base64(part) for part in _child(signed, path))
    fields = f'router="{router}", nonce="{first.nonce}", key="{public}", signature="{signature}"'
    return est.ask(server, "simpleenroll", request, key, f"{SCHEME} {fields}")


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _request(pair: Pair, router: str) -> tuple[bytes, bytes]:
    """The request, and its public key, both DER. The private key is made and stays in a child process, and on flash."""

    def made() -> tuple[bytes, bytes]:
        from cpe_filter.enrol.libcrypto import Crypto, KeyFileError

        crypto = Crypto()
        key = pair.pending()
        if key is not None:
            try:
                return crypto.request(key, router), crypto.public(key)
            except KeyFileError:
                pass  # damaged: a new one takes its place
        key = crypto.make_key()
        pair.begin(key)
        return crypto.request(key, router), crypto.public(key)

    request, key = _child(made, pair.certificate)
    return request, key


def _child(work: Callable[[], tuple[bytes, bytes]], path: str) -> tuple[bytes, bytes]:
    def done() -> tuple[bytes, bytes]:
        from cpe_filter.enrol.libcrypto import KeyFileError

        try:
            return work()
        except KeyFileError as error:
            raise NoKeyError(f"{path}: {error}") from None
        except OSError as error:
            raise NoKeyError(f"{error.filename or path}: {error.strerror}") from None

    try:
        first, second = call(done, NoKeyError)
    except CallFailedError as error:
        raise NoKeyError(f"{path}: {error}") from None
    return first, second


def _secret(path: str) -> bytes:
    """A file that its owner alone can write, and its group read. Raises OSError."""
    if os.stat(path).st_mode & 0o037:
        raise OSError(1, "others can read or change it; allowed: 0600 or 0640", path)
    return files.read(path, MOST_BYTES)


def _token(path: str) -> str:
    try:
        text = _secret(path)[:_MAX_TOKEN].decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise NoKeyError(f"{path}: {getattr(error, 'strerror', None) or 'not a token'}") from None
    if not text or not text.isprintable():
        raise NoKeyError(f"{path}: not a token")
    return text


def _judged(answer: Answer, router: str, clock: int) -> Certificate:
    """est has compared the key. clock: 0 if no time is known. Raises `EstError`."""
    try:
        made = parse(answer.chain)
    except CertificateError as error:
        raise EstError(f"the certificate that was issued: {error}") from None
    if made.name != router:
        raise EstError(f"the certificate that was issued is of {made.name[:64]!a}; expected {router}")
    if clock and made.ends <= clock:
        raise EstError(f"the certificate that was issued has expired on {_day(made.ends)}")
    # It would not be renewed before its time, and reports would be refused until then.
    if (clock and made.begins > clock + _AHEAD_S) or made.ends <= made.begins:
        raise EstError(f"the certificate that was issued is not valid before {_day(made.begins)}")
    return made
