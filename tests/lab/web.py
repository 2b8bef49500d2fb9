"""Web servers of the lab's Internet: what operating systems ask to learn whether a network has something to tell.

`CHECKS` has each system's documented question and the answer that it expects: anything else, or a redirect, makes it
open a browser. Port 80 answers as those hosts do; ports 443, 853 and 8080 send back what they get.
"""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading

#: System: host, path, status, body. Sources: Android's NetworkMonitor, Apple's CNA, Windows' NCSI, NetworkManager and
#: its distributions' settings, Firefox, Chromium, Kindle, Samsung, Huawei.
CHECKS = {
    "android": ("connectivitycheck.gstatic.com", "/generate_204", 204, ""),
    "android-fallback": ("www.google.com", "/gen_204", 204, ""),
    "chromium": ("clients3.google.com", "/generate_204", 204, ""),
    "apple": (
        *("captive.apple.com", "/hotspot-detect.html", 200),
        "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>\n",
    ),
    "windows": ("www.msftconnecttest.com", "/connecttest.txt", 200, "Microsoft Connect Test"),
    "windows-old": ("www.msftncsi.com", "/ncsi.txt", 200, "Microsoft NCSI"),
    "gnome": ("nmcheck.gnome.org", "/check_network_status.txt", 200, "NetworkManager is online\n"),
    "ubuntu": ("connectivity-check.ubuntu.com", "/", 204, ""),
    "fedora": ("fedoraproject.org", "/static/hotspot.txt", 200, "OK\n"),
    "kde": ("networkcheck.kde.org", "/", 200, "OK\n"),
    "firefox": ("detectportal.firefox.com", "/success.txt", 200, "success\n"),
    "kindle": (
        "spectrum.s3.amazonaws.com",
        "/kindle-wifi/wifistub.html",
        200,
        "81ce4465-7167-4dcb-835b-dcc9e44c112a\n",
    ),
    "samsung": ("connectivity.samsung.com.cn", "/generate_204", 204, ""),
    "huawei": ("connectivitycheck.platform.hicloud.com", "/generate_204", 204, ""),
}
ECHO_PORTS = (443, 853, 8080)
WEB4, WEB6 = "198.18.80.80", "2001:db8:1fe::80"


class _Checks(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = [(status, body) for host, path, status, body in CHECKS.values() if (host, path) == self._asked()]
        status, body = found[0] if found else (200, "the Internet\n")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _asked(self) -> tuple[str, str]:
        return self.headers.get("Host", ""), self.path

    def log_message(self, *_: object) -> None:
        """No log."""


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    servers = [_Server(("::", 80), _Checks), *(_Server(("::", port), _Echo) for port in ECHO_PORTS)]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    servers[0].serve_forever()
