"""Mail programs that take STARTTLS, for `tests.lab.tls`: each sends letters from a device to the lab's router.

Knows programs, boxes and their options. Must not know what is measured. A program of `ONCE` is started anew for each
letter; one of `STAYING` keeps running, and may resume the session of its last connection (RFC 8446 section 2.2).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable

from tests.explain import measure
from tests.lab import boxes
from tests.lab.clients import ONE_BY_ONE, Letter, Want
from tests.lab.exim import Exim
from tests.lab.mtas import Mta
from tests.lab.net import PYTHON, Lab
from tests.lab.opensmtpd import OpenSmtpd
from tests.lab.peers import BEN
from tests.lab.postfix import Postfix

TO = measure.ROUTER
MORE = (*measure.MORE, "gnutls-bin", "golang-1.19-go", "libio-socket-ssl-perl")
Play = Callable[[Lab, str, Iterable[Letter]], None]

_SMTPLIB = """
import smtplib, ssl, sys
context = ssl._create_unverified_context()
{more}
for n in range({times}):
    with smtplib.SMTP("192.168.1.1", 25, "smtplib.home.example", timeout=60) as server:
        server.starttls(context=context)
        server.sendmail("ann@home.example", ["ben@friends.example"], "Subject: x\\n\\nHello.\\n")
"""
_NET_SMTP = """
use Net::SMTP;
my $smtp = Net::SMTP->new("192.168.1.1", Hello => "perl.home.example") or die "no connection: $@";
$smtp->starttls(SSL_verify_mode => 0) or die $@;
$smtp->mail("ann\\@home.example") && $smtp->to("ben\\@friends.example") && $smtp->data("Subject: x\\n\\nHello.\\n");
$smtp->quit;
"""
_NODEMAILER = """
const mailer = require("/usr/share/nodejs/nodemailer");
const transport = mailer.createTransport({ host: "192.168.1.1", port: 25, tls: { rejectUnauthorized: false } });
const mail = { from: "ann@home.example", to: "ben@friends.example", subject: "x", text: "Hello." };
transport.sendMail(mail).then(() => transport.sendMail(mail)).catch(error => console.log(error.message));
"""
_JAVA = """
import java.io.*; import java.net.*; import java.security.cert.*; import javax.net.ssl.*;
public class Send {
  public static void main(String[] given) throws Exception {
    TrustManager[] all = { new X509TrustManager() {
      public void checkClientTrusted(X509Certificate[] chain, String kind) {}
      public void checkServerTrusted(X509Certificate[] chain, String kind) {}
      public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; } } };
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, all, null);
    for (int n = 0; n < 2; n++) {
      Socket plain = new Socket("192.168.1.1", 25);
      talk(plain, "EHLO java.home.example", "STARTTLS");
      SSLSocket secret = (SSLSocket) context.getSocketFactory().createSocket(plain, "192.168.1.1", 25, true);
      secret.startHandshake();
      talk(secret, "EHLO java.home.example", "MAIL FROM:<ann@home.example>", "RCPT TO:<ben@friends.example>",
        "DATA", "Subject: x\\r\\n\\r\\nHello.\\r\\n.", "QUIT");
      secret.close();
    }
  }
  static void talk(Socket to, String... lines) throws Exception {
    InputStream in = to.getInputStream();
    if (lines.length == 2) reply(in);
    for (String line : lines) { to.getOutputStream().write((line + "\\r\\n").getBytes()); reply(in); }
  }
  static void reply(InputStream in) throws Exception {
    String line;
    do {
      StringBuilder text = new StringBuilder();
      for (int c = in.read(); c != '\\n' && c >= 0; c = in.read()) text.append((char) c);
      line = text.toString();
    } while (line.length() > 3 && line.charAt(3) == '-');
  }
}
"""
_GO = """
package main
import ("crypto/tls"; "net/smtp")
func main() {
  for n := 0; n < 2; n++ {
    c, err := smtp.Dial("192.168.1.1:25")
    if err != nil { panic(err) }
    config := &tls.Config{ServerName: "mx.friends.example", InsecureSkipVerify: true}
    if err := c.StartTLS(config); err != nil { panic(err) }
    c.Mail("ann@home.example"); c.Rcpt("ben@friends.example")
    w, _ := c.Data(); w.Write([]byte("Subject: x\\r\\n\\r\\nHello.\\r\\n")); w.Close(); c.Quit()
  }
}
"""
_PHPMAILER = measure._PHPMAILER.replace(
    "$mail->isSMTP();",
    """$mail->isSMTP();
$mail->SMTPOptions = ["ssl" => ["verify_peer" => false, "verify_peer_name" => false, "allow_self_signed" => true]];""",
)
_RUBY = measure._RUBY.replace("helo:", "starttls: :always, helo:")
_DIALOGUE = "EHLO s.home.example\\r\\nMAIL FROM:<ann@home.example>\\r\\nRCPT TO:<ben@friends.example>\\r\\nQUIT\\r\\n"
_GNUTLS = f"(sleep 2; printf 'EHLO g.home.example\\r\\n'; sleep 1; printf '{_DIALOGUE}'; sleep 1) | \
timeout 20 gnutls-cli --insecure --starttls-proto=smtp -p 25 192.168.1.1"
_OPENSSL = f"(sleep 2; printf '{_DIALOGUE}'; sleep 1) | \
timeout 20 openssl s_client {{}} -quiet -starttls smtp -connect {TO}:25"


def _command(*command: str) -> Play:
    def send(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
        for _ in letters:
            lab.run(device, list(command), measure.LETTER, check=False, timeout=90)

    return send


def _of_measure(send_once: Callable[[Lab, str], str]) -> Play:
    """A program of `measure`: it sends one letter only, because its box is made once."""

    def send(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
        send_once(lab, device)

    return send


def _in_box(name: str, *command: str, files: tuple[tuple[str, str], ...] = (), once: bool = False) -> Play:
    def send(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
        with boxes.Box(lab, device, name) as box:
            for file, text in files:
                box.write(file, text)
            box.write("etc/hosts", "127.0.0.1 localhost\n192.168.1.1 mx.friends.example\n")
            for _ in [None] if once else letters:
                box.run(["timeout", "90", "sh", "-c", '"$@" 2>&1', "sh", *command], measure.LETTER, check=False)

    return send


def _called(call: Callable[..., None]) -> Play:
    def send(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
        for letter in letters:
            call(lab, Want(TO, tls=True), letter, on=device)

    return send


def _mta(make: type[Mta], more: str = "") -> Play:
    def send(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
        mta = make(lab, device)
        mta.send_through(TO, tls=True, together=False)
        if more:
            mta.box.write("etc/postfix/main.cf", mta.box.read("etc/postfix/main.cf") + more)
            mta.box.run(["postfix", "reload"])
        for letter in letters:
            sender = letter.sender if letter.recipients == (BEN,) else ""  # else a bounce goes the same way
            mta.submit(sender, list(letter.recipients), letter.text())
            _wait(mta)
        mta.close()

    return send


def _wait(mta: Mta) -> None:
    time.sleep(2)
    for _ in range(40):
        if mta.idle():
            return
        time.sleep(0.3)


def _verify(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
    """Postfix asks for an address, as it does for `reject_unverified_recipient`: RCPT and QUIT."""
    mta = Postfix(lab, device)
    mta.send_through(TO, tls=True, together=False)
    for letter in letters:
        mta.box.run(["sendmail", "-bv", "-f", letter.sender, *letter.recipients], check=False)
        time.sleep(4)
    mta.close()


def _phpmailer(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
    folder = boxes.UNPACKED / "libphp-phpmailer/usr/share/php/libphp-phpmailer/src"
    files = tuple((f"etc/phpmailer/{file.name}", file.read_text()) for file in folder.glob("*.php"))
    command = ("sh", "-c", 'exec /usr/bin/php?.? -r "$1"', "sh", _PHPMAILER)
    _in_box("php", *command, files=files, once=True)(lab, device, letters)


def _java(lab: Lab, device: str, letters: Iterable[Letter]) -> None:
    file = lab.folder / "Send.java"
    file.write_text(_JAVA)
    lab.run(device, ["java", str(file)], timeout=90)


_CACHE = "smtp_tls_session_cache_database = btree:$data_directory/smtp_scache\n"
_GO_RUN = ("sh", "-c", "HOME=/tmp GOCACHE=/tmp/c /usr/lib/go-1.19/bin/go run /root/send.go")
_SNAIL = (
    "s-nail",
    "-S",
    "v15-compat",
    "-S",
    f"mta=smtp://{TO}:25",
    "-S",
    "smtp-use-starttls",
    "-S",
    "smtp-auth=none",
    "-S",
    "sendwait",
)
_OLD = "context.maximum_version = ssl.TLSVersion.TLSv1_2"
_LIST = 'context.set_ciphers("ECDHE+AESGCM")'
PROGRAMS: dict[str, Play] = {
    "Postfix": _mta(Postfix),
    "Postfix, Debian's session cache": _mta(Postfix, _CACHE),
    "Postfix, level encrypt": _mta(Postfix, "smtp_tls_security_level = encrypt\n"),
    "Postfix, ciphers high": _mta(Postfix, "smtp_tls_ciphers = high\n"),
    "Exim (GnuTLS)": _mta(Exim),
    "OpenSMTPD": _mta(OpenSmtpd),
    "msmtp": _called(ONE_BY_ONE["msmtp"]),
    "swaks": _called(ONE_BY_ONE["swaks"]),
    "curl": _called(ONE_BY_ONE["curl"]),
    "curl, TLS 1.2": _command(*measure._CURL, "--ssl-reqd", "--insecure", "--tls-max", "1.2"),
    "smtplib, the project's Python": _command(PYTHON, "-c", _SMTPLIB.format(more="", times=2)),
    "smtplib, Debian's": _command("/usr/bin/python3", "-c", _SMTPLIB.format(more="", times=2)),
    "smtplib, TLS 1.2": _command("/usr/bin/python3", "-c", _SMTPLIB.format(more=_OLD, times=2)),
    "smtplib, ciphers of its own": _command("/usr/bin/python3", "-c", _SMTPLIB.format(more=_LIST, times=2)),
    "aiosmtplib": _of_measure(measure.PROGRAMS["aiosmtplib"]),
    "Net::SMTP": _in_box("libio-socket-ssl-perl", "perl", "-e", _NET_SMTP),
    "PHPMailer": _phpmailer,
    "nodemailer": _in_box("node-nodemailer", "node", "-e", _NODEMAILER, once=True),
    "Java 17": _java,
    "Go 1.19": _in_box("golang-1.19-go", *_GO_RUN, files=(("root/send.go", _GO),), once=True),
    "Ruby": _in_box("ruby", "ruby", "-e", _RUBY),
    "openssl s_client": _command("sh", "-c", _OPENSSL.format("")),
    "openssl s_client -no_tls1_3": _command("sh", "-c", _OPENSSL.format("-no_tls1_3")),
    "gnutls-cli": _in_box("gnutls-bin", "sh", "-c", _GNUTLS),
    "s-nail": _in_box("s-nail", *_SNAIL, "-S", "tls-verify=ignore", "-r", "ann@home.example", measure.TO),
    "ssmtp": _of_measure(measure.PROGRAMS["ssmtp, TLS required"]),
    "mutt (GnuTLS)": _of_measure(measure.PROGRAMS["mutt"]),
    "mailutils (GnuTLS)": _of_measure(measure.PROGRAMS["mailutils"]),
}
#: Those that tell records of different outcomes: they take letters.
BY_LETTER: dict[str, Play] = {
    **{name: PROGRAMS[name] for name in ("Postfix", "Exim (GnuTLS)", "OpenSMTPD", "msmtp", "swaks", "curl")},
    "Postfix asks for an address": _verify,
}


def play(lab: Lab, device: str, sends: Play, letters: Iterable[Letter]) -> str:
    """Lets a program send. Returns what went wrong, "" if nothing did: others go on."""
    try:
        sends(lab, device, letters)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""
