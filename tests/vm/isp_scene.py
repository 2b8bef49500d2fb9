"""A router that its ISP provisions: `python -m tests.vm.isp_scene PACKAGES`, a folder that tools.ipk has written.

The packages as they are installed, with UCI's sections `enrol` and `provision`; on the Internet the ISP's EST server
and collector, and a web server with what `policy publish` has put there. It prints a JSON object for each thing seen;
test_isp says what they must be. Runs on a root of its own (tests/openwrt/root.sh): it writes to /etc, /usr and /lib.

`python -m tests.vm.isp_scene web FOLDER ADDRESS CERTIFICATE KEY` is that web server.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cpe_filter.collect import signing
from tests.collect.ca import Authority
from tests.collect.running import Collector
from tests.lab.net import DEADLINE_S, PROJECT, PYTHON, Lab
from tests.openwrt.packager import Opkg
from tests.vm.life_router import RUNNING, LifeRouter, install
from tests.vm.service_scene import RUN, see, wait

PACKAGES = ("cpe-filter", "cpe-filter-report")
#: On the Internet, and reached by the router alone.
ADDRESS, WEB, EST, COLLECTOR = "203.0.113.250", 8443, 8444, 8445
PROVISION = Path("/etc/cpe-filter/provision")


class Isp:
    """The ISP's machine: its folder, its keys, and what runs there."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder, self.web = lab, folder, folder / "web"
        self.web.mkdir(parents=True)
        self.authority = Authority(folder / "ca")
        self.server = self.authority.server(ADDRESS)
        self.key = signing.generate()
        self.secret = folder / "isp.sec"
        self.secret.touch(0o600)
        self.secret.write_bytes(self.key.secret)
        enrol = {
            "address": f"{ADDRESS}:{EST}",
            "certificate": str(self.server.certificate),
            "key": str(self.server.key),
            "ca": str(self.authority.certificate),
            "ca_key": str(self._authority_key()),
            "crl": str(self.authority.crl),
        }
        self.collector = self._on_the_internet("run", enrol)
        self.est = self._on_the_internet("est", enrol)
        self.est.tables["store"] = self.collector.tables["store"]

    def _authority_key(self) -> Path:
        path = self.folder / "ca.key"
        path.touch(0o600)
        path.write_bytes(_pem(self.authority._key))
        return path

    def _on_the_internet(self, what: str, enrol: dict[str, str]) -> Collector:
        lab = self.lab

        class Remote(Collector):
            def command(self, what: str | None = None) -> list[str]:
                return lab.command("internet", super().command(what))

        made = Remote(self.folder / what, self.authority, what, enrol=enrol)
        made.tables["listen"]["address"] = f"{ADDRESS}:{COLLECTOR}"
        made.environment = {"PYTHONPATH": str(PROJECT)}  # the router's is the package's
        return made

    def start(self) -> None:
        self.collector.start()
        self.est.start()
        words = [PYTHON, "-m", "tests.vm.isp_scene", "web", str(self.web), f"{ADDRESS}:{WEB}", *map(str, self.server)]
        self.lab.start("internet", ["env", f"PYTHONPATH={PROJECT}", *words])

    def stop(self) -> None:
        self.est.stop()
        self.collector.stop()

    def do(self, *words: str) -> str:
        """A command of the ISP's; what it prints."""
        done = subprocess.run(
            ["env", f"PYTHONPATH={PROJECT}", PYTHON, "-m", "cpe_filter", *words],
            capture_output=True, text=True, timeout=DEADLINE_S, cwd=PROJECT,
        )  # fmt: skip
        if done.returncode:
            see("a script failed", arguments=words, code=done.returncode, said=done.stderr)
        return done.stdout

    def knows(self, router: str, key: ec.EllipticCurvePrivateKey) -> None:
        """The router, by its factory's key."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()
        path = self.folder / "routers.csv"
        path.write_text(f"router,key\n{router},{''.join(pem.splitlines()[1:-1])}\n")
        self.do("collector", "--config", str(self.collector.config), "routers", "import", str(path))

    def publish(self, policy: str) -> None:
        own, signed = self.folder / "policy.toml", self.folder / "new.signed"
        own.write_text(policy)
        places = ("--published", str(self.web), "--key", str(self.secret))
        self.do("policy", "sign", str(own), "--output", str(signed), "--audience", "router:cpe-0001", *places)
        self.do("policy", "publish", str(signed), "--yes", *places)
        signed.unlink()


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Provisioned:
    """The router's side."""

    def __init__(self, router: LifeRouter, isp: Isp) -> None:
        self.router, self.isp = router, isp

    def set_up(self) -> None:
        """What an image or an ACS brings: keys, authorities, and UCI's sections."""
        keys = Path("/etc/cpe-filter/keys/policy")
        keys.mkdir(parents=True, exist_ok=True)
        for path, data in (
            (keys / "isp.pub", self.isp.key.public),
            (Path("/etc/cpe-filter/collector-ca.pem"), self.isp.authority.certificate.read_bytes()),
        ):
            path.write_bytes(data)
            path.chmod(0o644)
        factory = ec.generate_private_key(ec.SECP256R1())
        path = Path("/etc/factory.key")
        path.touch(0o600)
        path.write_bytes(_pem(factory))
        self.isp.knows("cpe-0001", factory)
        for place, value in {
            "report.url": f"https://{ADDRESS}:{COLLECTOR}",
            "enrol.url": f"https://{ADDRESS}:{EST}",
            "enrol.id": "cpe-0001",
            "enrol.factory_key": "/etc/factory.key",
            "enrol.splay_minutes": "0",
            "provision.ca": "/etc/cpe-filter/collector-ca.pem",
            "provision.splay_minutes": "0",
        }.items():
            self.router.uci("set", f"cpe-filter.{place}={value}")
        self.router.reload_config()

    def fetches(self, region: str) -> None:
        """Another configuration starts the fetcher anew, and it fetches at once."""
        if region == "one":
            self.router.uci("add_list", f"cpe-filter.provision.url=https://{ADDRESS}:{WEB}/routers.signed")
        self.router.uci("set", f"cpe-filter.provision.region={region}")
        self.router.reload_config()

    def state(self) -> dict[str, object]:
        shown = self.router.lab.run("router", ["/usr/bin/cpe-filter", "policy", "status"], check=False).stdout
        status = self.router.status()
        return {
            "mode": status.get("mode"),
            "pid": status.get("pid"),
            "version": "".join(re.findall(r'^version = "(.*)"$', (RUN / "policy.toml").read_text(), re.MULTILINE)),
            "shown": shown.splitlines()[0] if shown else "",
            "reloads": [self.router.said("reload by uid 0: "), self.router.said("reload by SIGHUP: ")],
        }


def scene(router: LifeRouter, isp: Isp, packages: Path) -> None:
    isp.start()
    router.prepare()
    router.start()
    install(Opkg(router.lab.command("router", [])), packages, PACKAGES)
    see("installed", running=router.wait_for(RUNNING))
    one = Provisioned(router, isp)
    one.set_up()
    certificate = Path("/etc/cpe-filter/router.pem")
    got = router.wait_for("certificate of cpe-0001, until ")
    sent = ["/usr/bin/cpe-filter", "send", "--policy", str(RUN / "policy.toml"), "--once"]
    time.sleep(2)
    done = router.lab.run("router", sent, check=False)
    mode = oct(certificate.stat().st_mode)[-3:] if got else ""
    see("enrolled", got=got, mode=mode, said=router.said("certificate of"),
        sends=done.returncode, told=(done.stdout + done.stderr).strip())  # fmt: skip

    isp.publish('[filter]\nversion = "isp-1"\nmode = "limit"\n[limits]\nmessages_burst = 77\n')
    before = one.state()
    one.fetches("one")
    tried = router.wait_for("is tried for up to")
    see("tried", tried=tried, before=before, **one.state())
    confirmed = router.wait_for(" is in force")
    see("in force", confirmed=confirmed, **one.state())

    isp.publish('[filter]\nversion = "isp-2"\nmode = "monitor"\n')
    whole = (isp.web / "routers.signed").read_bytes()
    (isp.web / "routers.signed").write_bytes(whole.replace(b'mode = "monitor"', b'mode = "block"  '))
    one.fetches("two")
    refused = router.wait_for("(signature)")
    see("tampered", refused=refused, changed=whole != (isp.web / "routers.signed").read_bytes(), **one.state())

    (isp.web / "routers.signed").write_bytes(whole)
    one.fetches("three")
    see("later", confirmed=router.wait_for(" is in force", 2), **one.state())
    router.uci("set", "cpe-filter.provision.enabled=0")
    router.reload_config()
    see("disabled", back=wait(lambda: one.state()["version"] != "isp-2"), **one.state())


def serve(folder: str, address: str, certificate: str, key: str) -> None:
    """Files with an ETag, as web servers have them."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = Path(folder, Path(self.path).name)
            data = path.read_bytes() if path.is_file() else b""
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            same = self.headers.get("If-None-Match") == etag
            self.send_response(404 if not data else 304 if same else 200)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if data and not same:
                self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    host, _, port = address.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def main() -> None:
    if sys.argv[1] == "web":
        serve(*sys.argv[2:])
        return
    with Lab(devices=1) as lab:
        isp, router = Isp(lab, Path("/tmp/isp")), LifeRouter(lab)
        try:
            scene(router, isp, Path(sys.argv[1]))
        finally:
            isp.stop()
            see("log", text=router.log.read_text() if router.log.exists() else "", est=isp.est.log.read_text())


if __name__ == "__main__":
    main()
