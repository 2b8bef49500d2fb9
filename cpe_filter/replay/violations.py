"""The table of violations: what a client or server did against the protocol, each with its source.

Knows names and RFC sections. Must not know which senders are good or bad: a violation is a fact, not a judgement.
"""

from __future__ import annotations

#: name -> (its author: "client", "server" or "stream"; its meaning; the source of the rule)
VIOLATIONS: dict[str, tuple[str, str, str]] = {
    "early-talk": ("client", "sent a command before the server's greeting", "RFC 5321 section 3.1"),
    "blind-pipelining": (
        "client",
        "sent a command before the reply to the last, PIPELINING not offered",
        "RFC 2920 section 3.1",
    ),
    "early-content": (
        "client",
        "sent content or a command after DATA before its reply",
        "RFC 2920 section 3.1",
    ),
    "content-after-refusal": ("client", "sent the message although DATA was refused", "RFC 5321 section 3.3"),
    "wrong-order": ("client", "sent a command that its place does not allow", "RFC 5321 section 4.1.4"),
    "no-hello": ("client", "began a mail transaction without HELO or EHLO", "RFC 5321 section 4.1.1.1"),
    "empty-hello": ("client", "gave no name with HELO or EHLO", "RFC 5321 section 4.1.1.1"),
    "unknown-command": ("client", "sent a line that is not an SMTP command", "RFC 5321 section 4.2.4"),
    "bad-path": ("client", "MAIL or RCPT without FROM:/TO: and a path in <>", "RFC 5321 section 4.1.2"),
    "bare-lf": ("client", "ended a command line without CR", "RFC 5321 section 2.3.8"),
    "bare-lf-dot": ("client", "ended the message with LF.LF", "RFC 5321 section 4.1.1.4"),
    "overlong-command": ("client", "sent a command line over the limit", "RFC 5321 section 4.5.3.1.4"),
    "bad-chunk": ("client", "sent BDAT without a usable size", "RFC 3030 section 2"),
    "data-after-quit": ("client", "sent more after QUIT", "RFC 5321 section 4.1.1.10"),
    "data-before-tls": ("client", "sent more in the clear after STARTTLS", "RFC 3207 section 4.2"),
    "no-quit": ("client", "closed the connection without QUIT", "RFC 5321 section 4.1.1.10"),
    "no-greeting": ("server", "replied to a command without having greeted", "RFC 5321 section 4.3.1"),
    "malformed-reply": ("server", "sent a line that is not a reply", "RFC 5321 section 4.2"),
    "reply-code": ("server", "used a code outside 200-599, or changed it within a reply", "RFC 5321 section 4.2.1"),
    "unasked-reply": ("server", "replied where nothing was asked", "RFC 5321 section 4.2"),
    "overlong-reply": ("server", "sent a reply line over the limit", "RFC 5321 section 4.5.3.1.5"),
    "overlapping-data": ("stream", "sent a byte twice with different values", "RFC 9293 section 3.4"),
    "lost-data": ("stream", "bytes are missing from what was seen", "RFC 9293 section 3.4"),
}
