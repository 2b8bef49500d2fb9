"""What servers say when they refuse: texts by provider, as their public pages and the programs' sources have them.

Knows wordings. Must not know who gets them (`manners`) or how the detector reads them. `|` parts the lines of a reply;
the last one carries the code. Sources: Google "SMTP errors and codes for Google Workspace"; Microsoft "NDR error codes"
and the postmaster pages of Outlook.com; Yahoo Sender Hub "SMTP error codes"; the postmaster pages of GMX and Telekom;
Postfix postconf(5) and access(5); Exim's and cPanel's default configurations; Postgrey, rspamd and policyd; Spamhaus
"DNSBL return codes". Addresses of mailboxes are left out, because the filter never sees their local-parts.
"""

from __future__ import annotations

from cpe_filter.inspect.facts import Reply

_IP = "192.0.2.10"
_LINE = 254


def reply(text: str) -> Reply:
    """`before|before|code text` -> a reply, with as much of each line as `inspect` keeps."""
    *before, last = text.split("|")
    return Reply(int(last[:3]), last[:_LINE], tuple(line[: _LINE - 4] for line in before))


def replies(*texts: str) -> tuple[Reply, ...]:
    return tuple(map(reply, texts))


# ── agreement ───────────────────────────────────────────────────────────────────────────────────────

OK_SENDER, OK_RECIPIENT = reply("250 2.1.0 Ok"), reply("250 2.1.5 Ok")
QUEUED, READY_FOR_TLS = reply("250 2.0.0 Ok: queued as 4XyZ12"), reply("220 2.0.0 Ready to start TLS")
BYE, AUTHENTICATED = reply("221 2.0.0 Bye"), reply("235 2.7.0 Authentication successful")
BAD_LOGIN = reply("535 5.7.8 Error: authentication failed: authentication failure")

# ── Google: Gmail and Workspace ─────────────────────────────────────────────────────────────────────

_GSMTP = (
    "ffacd0b85a97d-38a3f9a8f0csi1234567f8f.12 - gsmtp",
    "5b1f17b1804b1-43eafa1dd6csi778822015e9.201 - gsmtp",
    "4fb4d7f45d1cf-5e0b3fa4d41si55501a12.88 - gsmtp",
)
GMAIL_UNKNOWN = replies(
    *(
        "5.1.1 The email account that you tried to reach does not exist. Please try|"
        "5.1.1 double-checking the recipient's email address for typos or|"
        "5.1.1 unnecessary spaces. For more information, go to|"
        f"550 5.1.1  https://support.google.com/mail/?p=NoSuchUser {tail}"
        for tail in _GSMTP
    ),
)
GMAIL_DISABLED = replies(
    "5.2.1 The email account that you tried to reach is inactive. For more|"
    f"550 5.2.1 information, go to https://support.google.com/mail/?p=DisabledUser {_GSMTP[0]}"
)
GMAIL_FULL = replies(
    "4.2.2 The recipient's inbox is out of storage space. Please direct the|"
    f"452 4.2.2 recipient to https://support.google.com/mail/?p=OverQuotaTemp {_GSMTP[1]}",
    "5.2.2 The recipient's inbox is out of storage space and inactive. Please direct|"
    f"552 5.2.2 the recipient to https://support.google.com/mail/?p=OverQuotaPerm {_GSMTP[2]}",
)
GMAIL_HOME = replies(
    f"5.7.1 [{_IP}] The IP you're using to send mail is not authorized to|"
    "5.7.1 send email directly to our servers. Please use the SMTP relay at your|"
    "5.7.1 service provider instead. For more information, go to|"
    f"550 5.7.1  https://support.google.com/mail/?p=NotAuthorizedError {_GSMTP[0]}",
)
GMAIL_NO_PTR = replies(
    f"5.7.25 [{_IP}] The IP address sending this message does not have a PTR record|"
    "5.7.25 setup, or the corresponding forward DNS entry does not match the sending|"
    "5.7.25 IP. As a policy, Gmail does not accept messages from IPs with missing|"
    f"550 5.7.25 PTR records. https://support.google.com/mail/answer/81126#ip-practices {_GSMTP[1]}",
)
GMAIL_UNAUTHENTICATED = replies(
    "5.7.26 Your email has been blocked because the sender is unauthenticated.|"
    "5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.|"
    "5.7.26  Authentication results:|5.7.26  DKIM = did not pass|"
    f"550 5.7.26  SPF [example.org] with ip: [{_IP}] = did not pass {_GSMTP[2]}",
)
GMAIL_SPAM = replies(
    f"5.7.1 [{_IP}       7] Gmail has detected that this message is likely|"
    "5.7.1 unsolicited mail. To reduce the amount of spam sent to Gmail, this|"
    "5.7.1 message has been blocked. For more information, go to|"
    f"550 5.7.1  https://support.google.com/mail/?p=UnsolicitedMessageError {_GSMTP[1]}",
)
GMAIL_RATE = replies(
    f"4.7.28 Gmail has detected an unusual rate of unsolicited mail originating|"
    f"4.7.28 from your IP address [{_IP}]. To protect our users from spam, mail has been|"
    "4.7.28 temporarily rate limited. For more information, go to|"
    f"421 4.7.28  https://support.google.com/mail/?p=UnsolicitedRateLimitError {_GSMTP[0]}",
)
GMAIL_REPUTATION = replies(
    f"5.7.1 [{_IP}       1] Gmail has detected that this message is likely|"
    "5.7.1 suspicious due to the very low reputation of the sending IP address.|"
    "5.7.1 To best protect our users from spam, the message has been blocked.|"
    f"550 5.7.1  https://support.google.com/mail/answer/188131 {_GSMTP[2]}",
)

GMAIL_IPV6 = replies(
    "5.7.1 [2001:db8:1::10] Gmail has detected that this message does not meet|"
    "5.7.1 IPv6 sending guidelines regarding PTR records and authentication. Please|"
    "5.7.1 review|550 5.7.1  https://support.google.com/mail/?p=IPv6AuthError for more information. " + _GSMTP[0],
)

# ── Microsoft: Outlook.com and Microsoft 365 ────────────────────────────────────────────────────────

_EOP = "[AM7EUR06FT021.eop-eur06.prod.protection.outlook.com]"
OUTLOOK_UNKNOWN = replies(
    f"550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). {_EOP}",
)
M365_UNKNOWN = replies(
    "550 5.4.1 Recipient address rejected: Access denied. For more information see https://aka.ms/EXOSmtpErrors "
    + _EOP,
    f"550 5.4.1 Recipient address rejected: Access denied. AS(201806281) {_EOP}",
)
MICROSOFT_HOME_AT_MAIL = replies(
    f"550 5.7.1 Unfortunately, messages from [{_IP}] weren't sent. Please contact your Internet service provider since "
    "part of their network is on our block list (S3150). You can also refer your provider to "
    f"http://mail.live.com/mail/troubleshooting.aspx#errors. {_EOP}",
)
MICROSOFT_HOME_AT_RCPT = replies(
    f"550 5.7.1 Service unavailable, Client host [{_IP}] blocked using Spamhaus. To request removal from this list see "
    f"https://www.spamhaus.org/query/ip/{_IP} (AS16012609) {_EOP}",
)
MICROSOFT_LISTED = replies(
    f"550 5.7.606 Access denied, banned sending IP [{_IP}]. To request removal from this list please visit "
    f"https://sender.office.com/ and follow the directions. For more information see "
    f"https://go.microsoft.com/fwlink/?LinkID=526655 AS(1430) {_EOP}",
    f"550 5.7.1 Unfortunately, messages from [{_IP}] weren't sent. Please contact your Internet service provider since "
    f"part of their network is on our block list (S3140). {_EOP}",
)
MICROSOFT_LIMITED = replies(
    f"451 4.7.650 The mail server [{_IP}] has been temporarily rate limited due to IP reputation. For e-mail delivery "
    f"information, see https://aka.ms/postmaster (S775) {_EOP}",
    f"451 4.7.500 Server busy. Please try again later from [{_IP}]. (S77719) {_EOP}",
)
MICROSOFT_DMARC = replies(
    "550 5.7.509 Access denied, sending domain example.org does not pass DMARC verification and has a DMARC policy of "
    f"reject. {_EOP}",
)
MICROSOFT_IPV6 = replies(
    f"550 5.7.25 Access denied, the sending IPv6 address [2001:db8:1::10] must have a reverse DNS record {_EOP}",
    f"450 4.7.25 Access denied, the sending IPv6 address [2001:db8:1::10] must have a reverse DNS record {_EOP}",
)
NEED_MAIL = reply("503 5.5.2 Need mail command")
NEED_RCPT = reply("503 5.5.2 Need rcpt command")

# ── Yahoo, AOL; GMX, web.de; T-Online; iCloud ───────────────────────────────────────────────────────

YAHOO_HOME = replies(
    "553 5.7.1 [BL21] Connections not accepted from IP addresses on Spamhaus PBL; see "
    "https://postmaster.yahooinc.com/error-codes",
)
YAHOO_LISTED = replies(
    "553 5.7.1 [BL23] Connections not accepted from IP addresses on Spamhaus XBL; see "
    "https://postmaster.yahooinc.com/error-codes",
)
YAHOO_UNKNOWN = replies(
    "552 1 Requested mail action aborted, mailbox not found",
    "554 delivery error: dd This user doesn't have a yahoo.com account (yahoo.com) [0] - "
    "mtaproxy511.free.mail.ne1.yahoo.com",
)
YAHOO_DEFERRED = replies(
    f"421 4.7.0 [TSS04] Messages from {_IP} temporarily deferred due to unexpected volume or user complaints - "
    "4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
)
YAHOO_SPAM = replies(
    "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
    "554 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit "
    "https://postmaster.yahooinc.com/error-codes [120]",
)
GMX_HOME = replies(
    "gmx.net (mxgmx017) Nemesis ESMTP Service not available|No SMTP service|Bad DNS PTR resource record.|"
    f"554 For explanation visit https://postmaster.gmx.net/en/error-messages?ip={_IP}&c=rdns",
    "web.de (mxweb112) Nemesis ESMTP Service not available|No SMTP service|Bad DNS PTR resource record.|"
    f"554 For explanation visit https://postmaster.web.de/en/error-messages?ip={_IP}&c=rdns",
)
GMX_LISTED = replies(
    "gmx.net (mxgmx117) Nemesis ESMTP Service not available|No SMTP service|IP address is block listed.|"
    f"554 For explanation visit https://postmaster.gmx.net/en/error-messages?ip={_IP}&c=bl",
)
GMX_UNKNOWN = replies(
    "Requested action not taken: mailbox unavailable|"
    "550 For explanation visit https://postmaster.gmx.net/en/error-messages?c=hmu",
    "550 Requested action not taken: mailbox unavailable",
)
GMX_SPAM = replies(
    "Transaction failed|Reject due to policy restrictions.|"
    "554 For explanation visit https://postmaster.gmx.net/en/error-messages?c=hi",
)
TONLINE_HOME = replies(
    f"554 IP={_IP} - A problem occurred. (Ask your postmaster for help or to contact *@rx.t-online.de to clarify.)",
    f"554 IP={_IP} - None/bad reputation. Ask your postmaster for help or to contact *@rx.t-online.de for reset.",
)
TONLINE_UNKNOWN = replies("550 user unknown", "550 5.1.1 unknown user or mailbox disabled")
ICLOUD_UNKNOWN = replies(
    "550 5.1.1 user does not exist",
    "550 5.1.1 unknown or illegal alias",
)
PROOFPOINT_HOME = replies(
    f"554 Blocked - see https://ipcheck.proofpoint.com/?ip={_IP}",
    f"550 5.7.0 Local Policy Violation - see https://ipcheck.proofpoint.com/?ip={_IP}",
)

# ── hosters and servers of one's own ────────────────────────────────────────────────────────────────

UNKNOWN = {
    "postfix": replies(
        "550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table",
        "550 5.1.1 Recipient address rejected: User unknown in local recipient table",
        "550 5.1.1 Recipient address rejected: User unknown in relay recipient table",
        "550 5.1.1 Recipient address rejected: undeliverable address: unknown user",
    ),
    "exim": replies("550 Unrouteable address", "550 No Such User Here", "550 No such person at this address"),
    "exchange": replies(
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "550 5.1.1 User unknown",
    ),
    "other": replies(
        "550 5.1.1 User unknown",
        "550 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
        "511 sorry, no mailbox here by that name (#5.1.1)",
        "550 Requested action not taken: mailbox unavailable",
        "550 #5.1.0 Address rejected.",
        "550 Invalid recipient",
        "550 5.1.1 Mailbox does not exist",
        "550 5.2.1 mailbox disabled, not accepting messages",
    ),
}
ZEN = {
    "postfix": replies(
        f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using zen.spamhaus.org; "
        f"https://www.spamhaus.org/query/ip/{_IP}",
        f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using zen.spamhaus.org; "
        f"Listed by PBL, see https://check.spamhaus.org/query/ip/{_IP}",
        f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using pbl.spamhaus.org",
    ),
    "exim": replies(
        f'"JunkMail rejected - ([{_IP}]) [{_IP}]:50312 is in an|550 RBL: https://www.spamhaus.org/query/ip/{_IP}"',
        f"550 host {_IP} is listed at zen.spamhaus.org (127.0.0.10: https://www.spamhaus.org/query/ip/{_IP})",
        f"550 rejected because {_IP} is in a black list at zen.spamhaus.org",
    ),
    "exchange": replies(
        "550 5.7.1 Recipient not authorized, your IP has been found on a block list: zen.spamhaus.org",
        f"550 5.7.1 The IP address {_IP} was rejected: listed by the IP block list provider Spamhaus ZEN",
    ),
    "other": replies(
        f"554 5.7.1 Rejected: {_IP} listed at zen.spamhaus.org",
        f"550 5.7.1 Mail from {_IP} refused by blackhole site zen.spamhaus.org",
        "550 5.7.1 Mail from dynamic IP addresses is not accepted here; use your provider's mail server",
        f"553 5.3.0 {_IP} is a residential address; send through your provider. See http://www.spamhaus.org/pbl/",
    ),
}
#: Lists of infected or spamming lines, by name.
LISTED = replies(
    f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using zen.spamhaus.org; "
    f"Listed by XBL, see https://check.spamhaus.org/query/ip/{_IP}",
    f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using xbl.spamhaus.org; "
    f"https://www.spamhaus.org/query/ip/{_IP}",
    f"554 5.7.1 Service unavailable; Client host [{_IP}] blocked using bl.spamcop.net; "
    f"Blocked - see https://www.spamcop.net/bl.shtml?{_IP}",
    f"554 Service unavailable; Client host [{_IP}] blocked using Barracuda Reputation; "
    f"http://www.barracudanetworks.com/reputation/?r=1&ip={_IP}",
    f"550 {_IP} is listed at cbl.abuseat.org (127.0.0.2)",
    "554 5.7.1 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
)
NO_PTR = replies(
    f"450 4.7.1 Client host rejected: cannot find your hostname, [{_IP}]",
    f"550 5.7.1 Client host rejected: cannot find your hostname, [{_IP}]",
    f"450 4.7.25 Client host rejected: cannot find your hostname, [{_IP}]",
    f"550 5.7.25 Client host rejected: cannot find your reverse hostname, [{_IP}]",
    f"550 Reverse DNS lookup failed for host {_IP}.",
    f"550 5.7.1 Fix reverse DNS for {_IP}",
)
BAD_HELO = "504 5.5.2 <{}>: Helo command rejected: need fully-qualified hostname"
BAD_HELO_OTHERS = (
    "550 5.7.1 <{}>: Helo command rejected: Host not found",
    "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
    "501 5.5.4 Invalid domain name",
)
BAD_SENDER = replies(
    "450 4.1.8 Sender address rejected: Domain not found",
    "550 5.1.8 Sender address rejected: Domain not found",
    "553 5.1.8 Domain of sender address does not exist",
    "550 Sender verify failed",
)
SPF = replies(
    f"550 5.7.23 Message rejected due to: SPF fail - not authorized. See http://www.open-spf.org/Why?ip={_IP}",
    f"550 5.7.1 SPF check failed: {_IP} is not allowed to send mail for this domain",
)
GREYLISTED = replies(
    "450 4.2.0 Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html",
    "451 4.7.1 Greylisting in action, please come back later",
    "451 4.7.1 Try again later",
    "451 Greylisted, please try again in 300 seconds",
    "450 4.3.2 Service currently unavailable",
    "450 4.7.1 Recipient address rejected: Policy Rejection- Greylisted, please retry",
)
SPAM = replies(
    "554 5.7.1 Spam message rejected",
    "550 High probability of spam",
    "550 This message was classified as SPAM and may not be delivered",
    "554 5.7.1 Message rejected because it contains a link on a block list",
    "550 5.7.1 Message content rejected, UBE, id=12345-06",
    "552 5.7.0 spam score exceeded threshold",
)
RELAY = replies(
    "554 5.7.1 Relay access denied",
    "550 5.7.1 relaying denied, proper authentication required",
    "530 5.7.0 Authentication required",
    "550 relay not permitted",
)
FULL = replies(
    "452 4.2.2 Mailbox full",
    "552 5.2.2 Mailbox size limit exceeded",
    "550 5.2.2 Quota exceeded (mailbox for user is full)",
)
BUSY = replies(
    "421 4.7.0 Too many concurrent SMTP connections; please try again later.",
    "421 4.3.2 Service not available, closing transmission channel",
    "451 4.3.0 Temporary lookup failure",
    "450 4.1.1 Recipient address rejected: unverified address: Address verification in progress",
)
TOO_MANY_ERRORS = reply("421 4.7.0 Error: too many errors")
ALL_REFUSED = {
    "postfix": reply("554 5.5.1 Error: no valid recipients"),
    "exim": reply("503 Valid RCPT command must precede DATA"),
}
ALL_REFUSED["exchange"] = NEED_RCPT
ALL_REFUSED["other"] = reply("503 5.0.0 Need RCPT (recipient)")
NOT_A_COMMAND = reply("502 5.5.2 Error: command not recognized")

# ── our responder ───────────────────────────────────────────────────────────────────────────────────

RESPONDER_NO = reply("554 5.7.1 Your Internet provider, not the recipient, refused this")
RESPONDER_LATER = reply("450 4.7.1 Your Internet provider, not the recipient, refused this")
RESPONDER_AGAIN = reply("554 5.7.0 Your Internet provider, not the recipient, refused this")
RESPONDER_NO_TLS = reply("454 4.7.0 Your Internet provider, not the recipient, refused this")
RESPONDER_SENDER = reply("2.1.0 ok 354-450-554|250 2.1.0 gateway.invalid")
RESPONDER_NO_DATA = reply("554 5.5.1 no valid recipients")
