"""The responder: explains refusals to senders over SMTP (554), and serves the notice by HTTP. A process without rights.

`command` starts it, `responder` has its loop, and `ports` binds. SMTP: `dialogue`, `text`, `questions` (what it asks
clients), `shares` (how many connections a client may hold). The notice: `web`, `http`, `notice_page`, and `channel` to
the filter.

Knows the server's side of SMTP and HTTP, and the policy's text. Must not know packets, devices or the kernel.
"""
