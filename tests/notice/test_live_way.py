"""The notice in the way, with real clients: whose HTTP leads there, what passes, answers, and hostile tries."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cpe_filter.detect.evidence import INDICATORS
from cpe_filter.enforce.ruleset_names import NOTICE_CLIENTS
from cpe_filter.notice.card import NOTICED
from cpe_filter.texts.html import escape
from tests.lab.mail import bot
from tests.lab.net import DEADLINE_S, PYTHON, Filter, Lab
from tests.lab.web import CHECKS, ECHO_PORTS, WEB4, WEB6
from tests.texts.browser import PROGRAM, Browser

pytestmark = pytest.mark.live

SERVED = "http://192.168.1.1:2580/"
BOT, OTHER = "device1", "device2"
#: Sends what it gets on its standard input to a port, and writes what comes back.
ECHO = (
    "import socket, sys\n"
    "given = sys.stdin.buffer.read()\n"
    "with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as s:\n"
    "    back = b''\n"
    "    for at in range(0, len(given), 1000):\n"
    "        s.sendall(given[at:at + 1000])\n"
    "        while len(back) < min(at + 1000, len(given)): back += s.recv(65536)\n"
    "print(back == given)\n"
)


class Way:
    """A lab where the notice is served."""

    def __init__(self, lab: Lab, notice: str = "", rest: str = "", responder: bool = True) -> None:
        self.lab = lab
        web = lab.start("internet", [PYTHON, "-m", "tests.lab.web"])
        assert web.stdout is not None
        assert web.stdout.readline() == "ready\n"
        self.policy = lab.policy(f'[filter]\nmode = "monitor"\n[notice]\nhelp_phone = "0800 1234"\n{notice}\n{rest}')
        self.responder = lab.start_responder(self.policy) if responder else None
        self.filter: Filter = lab.start_filter(self.policy)

    def convict(self, device: str = BOT) -> None:
        bot(self.lab, device=device)
        self.filter.wait_for(f"device {self.lab.mac(device)} is now compromised")

    def get(self, device: str, url: str, *options: str) -> str:
        """The answer, head and body; "" if there was none."""
        words = ["curl", "-s", "-i", "-g", "-m", "20", *options, url]
        return self.lab.run(device, words, check=False).stdout

    def code(self, device: str, url: str = f"http://{WEB4}/", *options: str) -> int:
        found = re.match(r"HTTP/1\.\d (\d{3})", self.get(device, url, *options))
        return int(found[1]) if found else 0

    def wait(self, device: str, code: int, url: str = f"http://{WEB4}/") -> None:
        end = time.monotonic() + DEADLINE_S
        while self.code(device, url, "-m", "4") != code:  # a server that is stopped takes a connection and says nothing
            assert time.monotonic() < end, f"{device}: {self.get(device, url)}\n{self.filter.log()}"
            time.sleep(0.2)

    def check(self, device: str, system: str, address: str = WEB4) -> str:
        """What this system's check gets: `online`, `notice`, or the answer."""
        host, path, status, body = CHECKS[system]
        found = self.get(device, f"http://{host}{path}", "--resolve", f"{host}:80:{address}")
        head, _, content = found.replace("\r\n", "\n").partition("\n\n")
        if f" {status} " in head.split("\n")[0] and content == body:
            return "online"
        led = re.match(r"HTTP/1.1 302 Found\n(?:.*\n)*Location: http://(\S+):2580/", head)
        return "notice" if led and led[1] in ("192.168.1.1", "[2001:db8:1::1]") else found

    def token(self, device: str, url: str = SERVED) -> str:
        found = re.search(r'name="token" value="([0-9a-f]{32})"', self.get(device, url))
        return found[1] if found else ""

    def answer(self, device: str, answer: str, token: str, *options: str, url: str = SERVED) -> str:
        return self.get(device, url, "-d", f"token={token}&answer={answer}&l=en", *options)


def test_each_system_s_check_reaches_the_notice_until_it_is_answered(lab: Lab) -> None:
    way = Way(lab)
    assert {way.check(BOT, system) for system in CHECKS} == {"online"}
    way.convict()
    way.wait(BOT, 302)
    for address in (WEB4, WEB6):
        assert {system: way.check(BOT, system, address) for system in CHECKS} == dict.fromkeys(CHECKS, "notice")
        assert {system: way.check(OTHER, system, address) for system in CHECKS} == dict.fromkeys(CHECKS, "online")
    # Opened while its HTTP still leads there, and used afterwards: it is not told a lie, and asks again.
    early = _open(lab, BOT, WEB4, 80)
    page = way.get(BOT, f"http://{WEB4}/", "-L")
    assert "One device needs your attention" in page
    assert "0800 1234" in page
    # What was found, and what is true of this router: it only watches, but blocks what is compromised.
    assert 2 <= sum(escape(row.subscriber) in page for row in INDICATORS.values()) <= NOTICED
    assert re.search(r"[1-9]\d*, of which \d+ were refused", page)
    assert "After that it may send mail itself again" in page
    assert 'lang="de"' in way.get(BOT, SERVED, "-H", "Accept-Language: fr, de-AT;q=0.9, en;q=0.8")
    said = way.answer(BOT, "seen", way.token(BOT))
    assert "Thank you" in said
    # At once: no wait.
    for address in (WEB4, WEB6):
        assert {way.check(BOT, system, address) for system in CHECKS} == {"online"}
    assert _ask(early, "captive.apple.com") == b""
    end = time.monotonic() + DEADLINE_S
    while not (status := way.filter.status()["notice"])["counts"]["seen"]:  # the status is written now and then
        assert time.monotonic() < end
        time.sleep(0.2)
    assert status["counts"]["seen"] == 1
    assert [(one["device"], one["answer"], one["leads"]) for one in status["devices"]] == [
        (lab.mac(BOT), "seen", False)
    ]


def _open(lab: Lab, device: str, address: str, port: int) -> subprocess.Popen[str]:
    """A connection that says nothing yet."""
    program = (
        "import socket, sys\n"
        f"s = socket.create_connection(({address!r}, {port}), 20)\nprint('open', flush=True)\n"
        "host = sys.stdin.readline().strip()\n"
        "try:\n"
        "    s.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n'.encode())\n"
        "    sys.stdout.write(s.recv(4096).decode('latin-1'))\n"
        "except OSError: pass\n"
    )
    process = subprocess.Popen(
        lab.command(device, [PYTHON, "-c", program]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def _ask(process: subprocess.Popen[str], host: str) -> bytes:
    out, _ = process.communicate(f"{host}\n", timeout=DEADLINE_S)
    return out.encode()


def test_nothing_else_is_touched(lab: Lab) -> None:
    """HTTPS and other ports byte for byte; the router and the home; a running HTTP connection."""
    way = Way(lab)
    running = _open(lab, BOT, WEB4, 80)
    way.convict()
    way.wait(BOT, 302)
    given = "".join(chr(33 + n * n % 90) for n in range(100_000))
    for port in ECHO_PORTS:
        for address in (WEB4, WEB6):
            assert lab.run(BOT, [PYTHON, "-c", ECHO, address, str(port)], given=given).stdout == "True\n"
    assert b" 200 OK" in _ask(running, "news.example")
    neighbour = lab.start(OTHER, [PYTHON, "-m", "tests.lab.web"])
    assert neighbour.stdout is not None
    neighbour.stdout.readline()
    router = lab.start("router", [PYTHON, "-m", "tests.lab.web"])
    assert router.stdout is not None
    router.stdout.readline()
    for url in (
        "http://192.168.1.1/",
        "http://192.0.2.1/",
        f"http://{lab.address4(OTHER)}/",
        "http://[2001:db8:1::1]/",
    ):
        assert way.code(BOT, url) == 200, url
    assert way.code(BOT) == 302


def test_off_leads_nobody_and_a_reload_changes_it(lab: Lab) -> None:
    way = Way(lab)
    way.convict()
    way.wait(BOT, 302)
    text = way.policy.read_text()
    way.policy.write_text(text.replace("[notice]\n", '[notice]\nshow = "off"\n'))
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(way.policy)])
    assert way.code(BOT) == 200
    way.policy.write_text(text)
    lab.run("router", [PYTHON, "-m", "cpe_filter", "reload", "--policy", str(way.policy)])
    way.wait(BOT, 302)
    lab.run("router", [PYTHON, "-m", "cpe_filter", "release", lab.mac(BOT), "--policy", str(way.policy)])
    assert way.code(BOT) == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_without_its_server_http_passes(lab: Lab, number: int) -> None:
    way = Way(lab)
    assert way.responder is not None
    way.convict()
    way.wait(BOT, 302)
    # `ip netns exec` has become the program.
    way.responder.send_signal(number)
    way.wait(BOT, 200)
    if number == signal.SIGSTOP:
        way.responder.send_signal(signal.SIGCONT)
    else:
        way.responder.wait(DEADLINE_S)
        way.responder = lab.start_responder(way.policy)
    way.wait(BOT, 302)


@pytest.mark.parametrize(
    ("number", "fail"), [(signal.SIGKILL, "open"), (signal.SIGKILL, "closed"), (signal.SIGTERM, "closed")]
)
def test_without_the_filter_http_passes(lab: Lab, number: int, fail: str) -> None:
    way = Way(lab)
    if fail == "closed":
        way.filter.stop()
        assert "refused a set element" not in way.filter.log()
        way.policy.write_text(way.policy.read_text().replace("[filter]\n", '[filter]\nfail = "closed"\n'))
        way.filter = lab.start_filter(way.policy)
    way.convict()
    way.wait(BOT, 302)
    way.filter.stop(number)
    way.wait(BOT, 200)
    way.filter = lab.start_filter(way.policy)
    way.wait(BOT, 302)


def test_a_restored_ruleset_leads_again(lab: Lab) -> None:
    way = Way(lab)
    way.convict()
    way.wait(BOT, 302)
    lab.run("router", ["nft", "flush", "ruleset"])
    lab.nft(
        "router",
        "table ip lab_nat { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }; }",
    )
    way.wait(BOT, 302)


def test_it_releases_twice_and_then_the_isp_does(lab: Lab) -> None:
    way = Way(lab, "self_release = 1")
    way.convict()
    way.wait(BOT, 302)
    assert "The device counts as clean." in way.answer(BOT, "cleaned", way.token(BOT))
    way.filter.wait_for(f"release of {lab.mac(BOT)} by the device {lab.mac(BOT)} itself: cleaned, by the notice")
    assert way.code(BOT) == 200
    way.filter._log.write_text("")
    way.convict()
    way.wait(BOT, 302)
    assert "has to release the device" in way.answer(BOT, "cleaned", way.token(BOT))
    device = way.filter.device(BOT)
    assert device is not None
    assert device["standing"] == "compromised"
    assert way.code(BOT) == 200


def test_an_answer_outlives_the_filter(lab: Lab) -> None:
    way = Way(lab, "self_release = 1")
    way.convict()
    way.wait(BOT, 302)
    assert "Thank you" in way.answer(BOT, "seen", way.token(BOT))
    way.filter.stop()
    way.filter = lab.start_filter(way.policy)
    end = time.monotonic() + DEADLINE_S
    while not way.filter.status().get("notice", {}).get("served"):
        assert time.monotonic() < end
        time.sleep(0.5)
    status = way.filter.status()["notice"]["devices"]
    assert [(one["answer"], one["leads"]) for one in status] == [("seen", False)]
    assert way.code(BOT) == 200


def test_a_mail_server_is_exempt_where_the_policy_lets_people_do_so(lab: Lab) -> None:
    way = Way(lab, "self_exempt = true")
    way.convict()
    way.wait(BOT, 302)
    assert "may send mail itself" in way.answer(BOT, "server", way.token(BOT))
    listed = lab.run("router", [PYTHON, "-m", "cpe_filter", "exempt", "list", "--policy", str(way.policy)]).stdout
    assert lab.mac(BOT) in listed
    assert "a mail server, by the notice" in listed


def test_the_home_s_others_see_it_once(lab: Lab) -> None:
    way = Way(lab, 'show = "home"')
    assert way.code(OTHER) == 200
    way.convict()
    way.wait(OTHER, 302)
    page = way.get(OTHER, SERVED)
    assert "One device needs your attention" in page
    assert "Hardware address ends in 01:01" in page
    assert re.findall(r'name="answer" value="(\w+)"', page) == ["seen"]
    assert way.code(OTHER) == 200
    assert way.code(BOT) == 302
    # At another device nothing but "seen" is taken, and the bot itself is still shown it.
    assert "Only the device" in way.answer(OTHER, "cleaned", way.token(OTHER))
    assert "Thank you" in way.answer(OTHER, "seen", way.token(OTHER))
    assert way.code(BOT) == 302


@pytest.mark.parametrize("notice", [f'emergency = ["{Lab.mac(BOT)}"]', 'hours = "{}-{}"'], ids=["emergency", "hours"])
def test_who_is_spared(lab: Lab, notice: str) -> None:
    hour = time.localtime().tm_hour
    way = Way(lab, notice.format((hour + 2) % 24, (hour + 3) % 24) + '\nshow = "home"')
    way.convict()
    time.sleep(5)
    assert way.code(BOT) == 200
    assert way.code(OTHER) == (200 if "hours" in notice else 302)


def test_an_exempt_device_is_spared(lab: Lab) -> None:
    way = Way(lab)
    way.convict()
    way.wait(BOT, 302)
    exempt = ["exempt", "add", "--device", lab.mac(BOT), "--reason", "test", "--policy", str(way.policy)]
    lab.run("router", [PYTHON, "-m", "cpe_filter", *exempt])
    assert way.code(BOT) == 200


# ── hostile tries ───────────────────────────────────────────────────────────────────────────────────


def test_no_other_answers_in_the_device_s_name(lab: Lab) -> None:
    way = Way(lab)
    way.convict()
    way.wait(BOT, 302)
    token = way.token(BOT)
    assert token
    # Another device: its own page has no form, and the bot's token is not its.
    assert way.token(OTHER) == ""
    for answer in ("seen", "cleaned", "server", "mistake"):
        assert " 403 " in way.answer(OTHER, answer, token).split("\n")[0]
    # Another site in the bot's browser, by form, script or a name that leads to the router.
    for header in (
        *("Origin: http://evil.example", "Origin: null", "Origin: http://192.168.1.1"),
        *("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"),
    ):
        assert " 403 " in way.answer(BOT, "seen", token, "-H", header).split("\n")[0], header
    for host in ("evil.example:2580", "192.168.1.1", "192.168.1.1:25800", "[2001:db8:1::1]:2580"):
        page = way.get(BOT, SERVED, "-H", f"Host: {host}")
        assert " 302 " in page.split("\n")[0]
        assert host not in page.replace("http://192.168.1.1:2580/", "")
        assert " 302 " in way.answer(BOT, "seen", token, "-H", f"Host: {host}").split("\n")[0]
    for wrong in ("", "0" * 32, token[:-1], token + "0"):
        assert " 403 " in way.answer(BOT, "seen", wrong).split("\n")[0]
    assert " 403 " in way.answer(BOT, "release", token).split("\n")[0]
    assert " 405 " in way.get(BOT, SERVED, "-X", "PUT").split("\n")[0]
    assert way.code(BOT) == 302
    # And from the Internet nobody reaches it.
    lab._ip("internet", "route add 192.168.1.0/24 via 192.0.2.1")
    assert way.get("internet", SERVED) == ""
    assert way.get("internet", "http://192.0.2.1:2580/") == ""
    assert "Thank you" in way.answer(BOT, "mistake", token, "-H", "Origin: http://192.168.1.1:2580")


#: Frames of another device's MAC.
FORGED = f"""table netdev forged {{ chain e {{
    type filter hook egress device eth0 priority 0
    ether type {{ ip, ip6 }} ether saddr set {Lab.mac(BOT)}
}}; }}"""


@pytest.mark.parametrize("forged", ["arp", "frames"])
def test_a_neighbour_does_not_answer_in_the_device_s_name(lab: Lab, forged: str) -> None:
    """In the moment of the answer the router is told that the neighbour's address is at the bot's MAC, or gets frames
    with it."""
    way = Way(lab, 'show = "home"')
    way.convict()
    way.wait(OTHER, 302)
    form = f"token={way.token(OTHER)}&answer=mistake"
    if forged == "frames":
        lab.nft(OTHER, FORGED)
        lab.nft("router", f"flush set inet cpe_filter {NOTICE_CLIENTS}4")  # its own MAC is forgotten, as after a while
    program = (
        "import socket, sys, time\n"
        "s = socket.create_connection(('192.168.1.1', 2580), 20)\nprint('open', flush=True)\n"
        "sys.stdin.readline()\n"
        "s.sendall(b'POST / HTTP/1.1\\r\\nHost: 192.168.1.1:2580\\r\\n'\n"
        f"    b'Content-Length: {len(form)}\\r\\n\\r\\n{form}')\n"
        "time.sleep(2)\n"
    )
    process = subprocess.Popen(
        lab.command(OTHER, [PYTHON, "-c", program]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    if forged == "arp":
        lab._ip("router", f"neigh replace {lab.address4(OTHER)} lladdr {lab.mac(BOT)} dev br-lan nud permanent")
    process.communicate("now\n", timeout=DEADLINE_S)
    if forged == "arp":
        lab._ip("router", f"neigh del {lab.address4(OTHER)} dev br-lan")
    end = time.monotonic() + DEADLINE_S
    while not (counts := way.filter.status()["notice"]["counts"])["refused"]:
        assert time.monotonic() < end, way.filter.log()
        time.sleep(0.2)
    assert counts["mistake"] == 0
    assert way.code(BOT) == 302


#: A firewall that refuses the network the router itself, as guest zones' do; and one that takes what was redirected.
REFUSES = "iifname br-lan meta l4proto tcp reject with tcp reset"
TAKES_REDIRECTED = f"ct status dnat accept; {REFUSES}"


@pytest.mark.parametrize("rules", [REFUSES, TAKES_REDIRECTED, REFUSES.replace("reject with tcp reset", "drop")])
def test_where_the_firewall_refuses_the_port_http_passes(lab: Lab, rules: str) -> None:
    way = Way(lab)
    lab.nft("router", f"table inet lab_fw {{ chain input {{ type filter hook input priority filter; {rules}; }}; }}")
    way.convict()
    end = time.monotonic() + DEADLINE_S
    while not way.filter.status()["notice"]["led"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    codes = []
    for _ in range(3):
        codes.append(way.code(BOT))
        way.get(BOT, SERVED, "-m", "2")  # what a redirect leads to
    # The reset is the router's and not the server's, so the client sends its SYN again.
    assert codes == [302 if "dnat" in rules else 200, 200, 200]
    assert way.code(BOT, f"http://[{WEB6}]/") == 200
    way.filter.wait_for(f"notice not shown to device {lab.mac(BOT)}: the firewall refuses it TCP port 2580")
    end = time.monotonic() + DEADLINE_S
    while not (one := way.filter.status()["notice"]["devices"][0])["shut_out"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert not one["leads"]
    # Once the port is open, opening the page proves it.
    lab.nft("router", "delete table inet lab_fw")
    assert "One device needs your attention" in way.get(BOT, SERVED)
    way.wait(BOT, 302)
    assert way.filter.log().count("notice not shown") == 1


def test_slow_clients_and_floods(lab: Lab) -> None:
    """A device that holds connections, and one that asks all the time, take the page from nobody."""
    way = Way(lab)
    assert way.responder is not None
    way.convict()
    way.wait(BOT, 302)
    memory = _rss_kb(way.responder.pid)
    hold = (
        "import socket, time\nheld = []\n"
        "for n in range(60):\n"
        "    s = socket.socket(); s.settimeout(2)\n"
        "    try: s.connect(('192.168.1.1', 2580)); s.sendall(b'GET / HTTP/1.1\\r\\nX: '); held.append(s)\n"
        "    except OSError: pass\n"
        "print('held', flush=True)\n"
        "while True:\n"
        "    time.sleep(0.5)\n"
        "    for s in held:\n"
        "        try: s.sendall(b'x')\n"
        "        except OSError: pass\n"
    )
    holder = lab.start(OTHER, [PYTHON, "-c", hold])
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert way.token(BOT)
    lab.stop(holder, signal.SIGKILL)
    ask = (
        "import socket\n"
        "for n in range(10000):\n"
        "    s = socket.socket(); s.setblocking(False)\n"
        f"    try: s.connect_ex(({WEB4!r}, 80))\n"
        "    except OSError: pass\n"
        "    s.close()\n"
    )
    began = time.monotonic()
    lab.run(BOT, [PYTHON, "-c", ask])
    assert time.monotonic() - began < DEADLINE_S
    # What is more than the server should answer goes where it was meant to.
    assert way.code(BOT) in (200, 302)
    way.wait(BOT, 302)
    assert way.responder.poll() is None
    assert _rss_kb(way.responder.pid) - memory < 1024


def _rss_kb(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


# ── a browser ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not PROGRAM, reason="no chromium here")
def test_chromium_is_led_there_and_answers_by_keyboard(lab: Lab) -> None:
    way = Way(lab)
    way.convict()
    way.wait(BOT, 302)
    with Browser(lab.command(BOT, [])) as browser:
        browser.size(390, 800)
        browser.visit(f"http://{WEB4}/news")
        assert browser.ask("location.href") == SERVED
        assert browser.ask("document.documentElement.lang") == "en"
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth") is True
        assert browser.ask("[...document.scripts].length") == 0
        browser.visit(f"{SERVED}?l=de")
        assert browser.ask("document.querySelector('h1').textContent") == "Ein Gerät braucht Ihre Aufmerksamkeit"
        browser.ask("document.querySelector('button[value=seen]').focus()")
        browser.events.clear()
        browser.key("Enter", 13, "\r")
        browser.loaded()
        assert browser.ask("document.querySelector('h1').textContent") == "Vielen Dank"
        errors = [event for event in browser.events if event[0] in ("Log.entryAdded", "Runtime.exceptionThrown")]
        assert errors == []
        browser.visit(f"http://{WEB4}/news")
        assert "the Internet" in browser.ask("document.body.textContent")
