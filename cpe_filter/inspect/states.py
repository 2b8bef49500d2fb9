"""The state machine of an SMTP dialogue, as tables: states, commands, and what a reply to each command does.

Everything that decides what may follow what stands here. `smtp` carries the tables out, and says where. This module
knows RFC 5321 with PIPELINING (2920), CHUNKING (3030), STARTTLS (3207) and AUTH (4954), and what private-use commands
have in common (RFC 5321 section 4.1.5). It must not know bytes.

The rules:

1. An observer sees what both sides see, a little earlier or later. A command waits in a queue until its reply comes.
   **Only the reply changes the envelope**, by the function that `COMMANDS` names.
2. Replies come in the order of the commands (RFC 5321 section 2.4). `ANSWERS` lists the replies that only some commands
   get: by these the observer finds its place again after lost replies.
3. The reply to some commands decides how the client's next bytes must be read (`TURNS`). Behind such a command the
   client's bytes are held, unread, until the reply is known.
4. Where the server's side is not seen at all, each command counts as agreed to. Behind a command of `TURNS` the
   client's next line then shows what the reply was.
5. After lost bytes both sides are read on from the next line that makes sense. What only complete knowledge could show
   (order, replies to nothing) no longer counts against either side.
6. Content that follows a refused DATA may be answered line by line. These replies have a place of their own in the
   queue ("stray").
7. Message content is counted and passes; no byte of it is kept.
   A chunk's octets come without a reply to BDAT (RFC 3030). Where CHUNKING was offered they are read as octets at once,
   elsewhere they are held. A refusal (`UNIMPLEMENTED`) shows that for the server they are commands, and changes nothing
   else. After any other refusal the rest of the chunk may come and be dropped by the server, or a command may come: the
   next line that is a command ends the chunk. Else its size does.
8. A word that begins with X is a command if the server has named it in its reply to EHLO, or may have, unseen. Whatever
   it means, the code of its reply says how the client goes on: 220, TLS may follow; 334, lines of an authentication;
   354, as many bytes as the command announced, or content. Thus Exchange's X-ANONYMOUSTLS is read as STARTTLS, X-EXPS
   as AUTH, and XEXCH50 as a chunk. A word that the server has not named is an unknown command, whatever the reply.

The modes, in which the client's bytes are read:

    COMMAND ──DATA 354──► CONTENT ──CRLF.CRLF──► COMMAND        DATA refused, message sent anyway:
       │  ▲                                                      COMMAND ──► REFUSED ──line "."──► COMMAND
       │  └──n bytes── CHUNK ◄──BDAT n, CHUNKING offered         DATA, STARTTLS, AUTH sent: HELD until the reply, and
       │                  └──refused──► REFUSED                    BDAT where CHUNKING was not offered
       ├──AUTH 334──► AUTH_LINE (one line) ──334──► AUTH_LINE …
       ├──STARTTLS 220──► HANDSHAKE ──TLS record──► OPAQUE (for good); anything else: COMMAND, in the clear
       ├──private-use command 220, then a TLS record──► HANDSHAKE
       └──not SMTP at all──► OPAQUE

Content need not be seen: the server's next reply ends it, whatever passed meanwhile. A client may have sent commands
behind the content (RFC 2920), which then were not seen either. Replies that no visible command asked for answer those.
The first of these ends the leniency, and each that may be RCPT's counts as a recipient.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Mode = Literal["command", "held", "content", "chunk", "auth-line", "refused", "handshake", "opaque"]
    EnvelopeState = Literal["new", "ready", "mail", "rcpt"]

# ── states ──────────────────────────────────────────────────────────────────────────────────────────

#: How the client's next bytes are read.
COMMAND: Mode = "command"  # lines with commands
HELD: Mode = "held"  # not at all before the reply to a command of `TURNS` is known
CONTENT: Mode = "content"  # a message, up to the line with a dot alone
CHUNK: Mode = "chunk"  # a message's bytes, as many as BDAT announced
AUTH_LINE: Mode = "auth-line"  # a line of an authentication; nothing of it is kept
REFUSED: Mode = "refused"  # a message that was refused and is sent all the same
HANDSHAKE: Mode = "handshake"  # the records of a ClientHello
OPAQUE: Mode = "opaque"  # not at all, for good

#: What the server has agreed to so far (RFC 5321 section 3.3).
NEW: EnvelopeState = "new"
READY: EnvelopeState = "ready"  # HELO or EHLO
MAIL: EnvelopeState = "mail"
RCPT: EnvelopeState = "rcpt"
_ANY = (NEW, READY, MAIL, RCPT)

# ── commands ────────────────────────────────────────────────────────────────────────────────────────

#: verb -> (states in which the client may send it, what its reply does: `effects.on_...`).
COMMANDS: dict[str, tuple[tuple[EnvelopeState, ...], str]] = {
    "HELO": (_ANY, "hello"),
    "EHLO": (_ANY, "hello"),
    "LHLO": (_ANY, "hello"),  # of LMTP (RFC 2033), sent to a mail server by mistake
    "MAIL": ((NEW, READY), "mail"),
    "SEND": ((NEW, READY), "mail"),  # these three: RFC 821 section 3.4
    "SOML": ((NEW, READY), "mail"),
    "SAML": ((NEW, READY), "mail"),
    "RCPT": ((MAIL, RCPT), "rcpt"),
    "DATA": ((RCPT,), "data"),
    "BDAT": ((RCPT,), "bdat"),
    "BURL": ((RCPT,), "bdat"),  # a chunk without octets (RFC 4468)
    "RSET": (_ANY, "rset"),
    "STARTTLS": ((NEW, READY), "starttls"),
    "AUTH": ((NEW, READY), "auth"),
    "QUIT": (_ANY, "other"),
    "VRFY": (_ANY, "other"),
    "EXPN": (_ANY, "other"),
    "HELP": (_ANY, "other"),
    "NOOP": (_ANY, "other"),
    "ETRN": (_ANY, "other"),
    "TURN": (_ANY, "turn"),  # RFC 821 section 3.8
    "ATRN": (_ANY, "turn"),  # RFC 2645
    "XCLIENT": (_ANY, "xclient"),
    "XFORWARD": (_ANY, "other"),
}
#: Commands that begin a transaction as MAIL does, and wait as MAIL.
AS_MAIL = ("SEND", "SOML", "SAML")
#: What waits for a reply without being a command -> what its reply does.
OTHERS_THAT_WAIT: dict[str, str] = {
    "connect": "greeting",  # the connection itself, answered by the greeting
    "content": "content",  # a whole message
    "auth-line": "auth",  # a line of an authentication
    "unknown": "unknown",  # a line that is not a command
    "private": "private",  # a private-use command
    "stray": "stray",  # lines of refused content that the server may take for commands
}
#: Commands whose reply decides how the client's next bytes are read. BDAT does where CHUNKING was not offered.
TURNS = frozenset(("DATA", "BDAT", "STARTTLS", "AUTH", "auth-line", "private", "TURN", "ATRN", "XCLIENT"))
#: Extensions in a reply to EHLO that matter here -> a bit each. The octets of BDAT follow at once (RFC 3030 section 2).
PIPELINING, CHUNKING = 1, 2
EXTENSIONS = {"PIPELINING": PIPELINING, "CHUNKING": CHUNKING}

# ── replies ─────────────────────────────────────────────────────────────────────────────────────────

#: code -> the only commands that get this reply.
ANSWERS: dict[int, tuple[str, ...]] = {
    354: ("DATA", "private"),
    221: ("QUIT",),
    334: ("AUTH", "auth-line", "private"),
    235: ("AUTH", "auth-line", "private"),
}
#: The reply that agrees with one of these has a code of its own: a 250 answers none of them.
AGREE_BY_OWN_CODE = ("DATA", "AUTH", "auth-line", "QUIT")
#: The server does not have the command, or its parameter (RFC 5321 section 4.2.4): the envelope stays as it is.
UNIMPLEMENTED = (500, 502, 504)
#: What a line of content gets that is taken for a command.
TO_STRAY = (500, 501, 502, 504)
#: Agreement with these says no more than its code. EHLO is not among them: each line of its reply counts.
WORDLESS = frozenset(("MAIL", "RCPT", "DATA", "content", "RSET", "QUIT"))
#: A reply may answer what waits behind one of these: theirs may never come.
PASSED_OVER = ("connect", "stray")
#: A reply may answer a command that was sent before one of these and not seen.
MAY_BE_OUTRUN = ("DATA", "QUIT", "unknown")
#: A reply that comes while one of these has waited longest may answer another command.
IN_DOUBT = frozenset((*PASSED_OVER, *MAY_BE_OUTRUN))
#: Replies that say more than yes or no.
SPECIAL = frozenset((*ANSWERS, 421))
