"""The web server of a router for tests: the app's pages on loopback, over a stub of LuCI, and ubus behind them.

ubus lets a session do what the app's own ACL file grants it, and nothing else; `cpe-filter` is the real rpcd plugin
(see luci_router), `uci` keeps one configuration in memory. With a checkout of LuCI in place of the stub its own
JavaScript and theme are served, for looking at by hand.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.openwrt.luci_po import catalogue
from tests.openwrt.luci_router import APP, Router

STUB = Path(__file__).parent / "luci_stub"
BASE = "/cgi-bin/luci"
PAGES = "admin/services/cpe-filter"
#: A session's rights: group of the ACL file -> of these. Every session may do what LuCI's own ACL lets all.
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "root": {"luci-app-cpe-filter": ("read", "write"), "luci-app-cpe-filter-settings": ("read", "write")},
    "subscriber": {"luci-app-cpe-filter": ("read", "write")},
    "viewer": {"luci-app-cpe-filter": ("read",), "luci-app-cpe-filter-settings": ("read",)},
    "nobody": {},
}
_OK, _INVALID, _NOT_FOUND, _DENIED = 0, 2, 4, 6

ACL: dict[str, Any] = json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-cpe-filter.json").read_text())
MENU: dict[str, Any] = json.loads((APP / "root/usr/share/luci/menu.d/luci-app-cpe-filter.json").read_text())


def granted(role: str, scope: str, name: str, right: str) -> bool:
    """Whether a role's session may call method `right` of ubus object `name`, or read or write configuration `name`."""
    for group, kinds in ROLES[role].items():
        for kind in kinds:
            rights = ACL[group].get(kind, {}).get(scope, {})
            if scope == "ubus" and right in rights.get(name, ()):
                return True
            if scope == "uci" and kind == right and name in rights:
                return True
    return False


class Uci:
    """One configuration: sections of options, and what is not applied yet."""

    def __init__(self, sections: dict[str, dict[str, Any]]) -> None:
        self.sections = sections
        self.applied = 0
        self._number = 0

    def call(self, method: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        section = str(asked.get("section"))
        if method == "get":
            found = {
                name: {".name": name, ".anonymous": name.startswith("cfg"), ".index": at, **options}
                for at, (name, options) in enumerate(self.sections.items())
            }
            return _OK, {"values": found}
        if method == "add":
            self._number += 1
            name = asked.get("name") or f"cfg{self._number:06x}"
            self.sections[name] = {".type": asked["type"], **(asked.get("values") or {})}
            return _OK, {"section": name}
        if method in ("set", "delete") and section not in self.sections:
            return _NOT_FOUND, {}
        if method == "set":
            self.sections[section].update(asked["values"])
        elif method == "delete" and asked.get("options") is None:
            del self.sections[section]
        elif method == "delete":
            for option in asked["options"]:
                self.sections[section].pop(option, None)
        elif method == "apply":
            self.applied += 1
        return _OK, {}


class LuciServer:
    """On a free port of 127.0.0.1. `root`: where it is. `calls` collects (object, method, arguments)."""

    def __init__(self, router: Router, sections: dict[str, dict[str, Any]], luci: Path | None = None) -> None:
        self.router = router
        self.uci = Uci(sections)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.luci = luci
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, kind, body = server.page(self.path)
                self._answer(code, kind, body)

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    many = [server.rpc(one) for one in (asked if isinstance(asked, list) else [asked])]
                self._answer(200, "application/json", json.dumps(many if isinstance(asked, list) else many[0]).encode())

            def _answer(self, code: int, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the browser has gone on
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> LuciServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, view: str, role: str = "root", lang: str = "en", more: str = "") -> str:
        return f"{self.root}{BASE}/{PAGES}/{view}?role={role}&lang={lang}{more}"

    # ── pages ───────────────────────────────────────────────────────────────────────────────────

    def page(self, target: str) -> tuple[int, str, bytes]:
        parts = urlsplit(target)
        path, asked = parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()}
        if path.startswith(f"{BASE}/admin/translations/"):
            return 200, "text/javascript", self._translations(path.rsplit("/", 1)[1]).encode()
        if path.startswith(f"{BASE}/admin/menu"):
            return 200, "application/json", json.dumps(menu("root")).encode()
        if path.startswith(f"{BASE}/{PAGES}/"):
            name = path[len(BASE) + 1 :]
            role = asked.get("role", "root")
            if name not in MENU or not _node(name, role)["satisfied"]:
                return 404, "text/plain", b"No page registered there, or not for this session"
            return 200, "text/html; charset=utf-8", self._html(name, role, asked.get("lang", "en")).encode()
        file = self._file(path)
        if file is None:
            return 404, "text/plain", b"not found"
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        return 200, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, file.read_bytes()

    def _translations(self, lang: str) -> str:
        texts = catalogue(lang) if lang != "en" and self.luci is None else {}
        return f"window.TR = {json.dumps(texts)};"

    def _file(self, path: str) -> Path | None:
        if ".." in path:
            return None
        inside = path.lstrip("/")
        places = [APP / "htdocs" / inside]
        if self.luci is None:
            places.append(STUB / Path(path).name)
        else:
            places += [
                self.luci / part / "htdocs" / inside for part in ("modules/luci-base", "themes/luci-theme-bootstrap")
            ]
        return next((place for place in places if place.is_file()), None)

    def _html(self, name: str, role: str, lang: str) -> str:
        env = {
            "media": "/luci-static/bootstrap",
            "resource": "/luci-static/resources",
            "scriptname": BASE,
            "pathinfo": f"/{name}",
            "documentroot": "/www",
            "requestpath": name.split("/"),
            "dispatchpath": name.split("/"),
            "pollinterval": 1,
            "ubuspath": "/ubus/",
            "sessionid": role,
            "token": "",
            "nodespec": _node(name, role),
            "apply_rollback": 90,
            "apply_holdoff": 1,
            "apply_timeout": 5,
            "apply_display": 1.5,
        }
        # LuCI makes its modal itself, and needs cbi.js for `_` and E.
        own = "" if self.luci else '<div id="modal_overlay"><div class="modal"></div></div>'
        cbi = '<script src="/luci-static/resources/cbi.js"></script>' if self.luci else ""
        media = 'media="only screen and (max-device-width: 854px)"'
        narrow = f'<link rel="stylesheet" {media} href="/luci-static/bootstrap/mobile.css">' if self.luci else ""
        dark = (
            "document.documentElement.setAttribute('data-darkmode', matchMedia('(prefers-color-scheme: dark)').matches)"
        )
        links = "".join(
            f'<li><a href="{BASE}/{path}?role={role}&amp;lang={lang}">{node["title"]}</a></li>'
            for path, node in MENU.items()
            if path.count("/") == 3 and _node(path, role)["satisfied"]
        )
        return f"""<!DOCTYPE html>
<html lang="{lang}"><head><meta charset="utf-8"><title>OpenWrt</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script>{dark}</script>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/luci-static/bootstrap/cascade.css">{narrow}
<script src="{BASE}/admin/translations/{lang}"></script>{cbi}</head>
<body class="lang_{lang}" data-page="{name.replace("/", "-")}">
<header><a class="brand" href="/">OpenWrt</a><ul class="nav" id="topmenu" style="display:none"></ul>
<div id="indicators" class="pull-right"></div></header>
<div id="maincontent" class="container"><div id="tabmenu" style="display:none"></div>
{f'<ul class="tabs">{links}</ul>' if self.luci else ""}
<script src="/luci-static/resources/luci.js"></script><script>L = new LuCI({json.dumps(env)});</script>
<div id="view"><div class="spinning">Loading view…</div>
<script>L.require('ui').then(function(ui) {{ ui.instantiateView('{MENU[name]["action"]["path"]}'); }});</script></div>
</div>{own}</body></html>"""

    # ── ubus ────────────────────────────────────────────────────────────────────────────────────

    def rpc(self, message: dict[str, Any]) -> dict[str, Any]:
        """A JSON-RPC message as uhttpd's ubus module takes it."""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
        if message.get("method") != "call":
            return {**answer, "result": {}}
        role, name, method, arguments = message["params"]
        if role not in ROLES or not self._allowed(role, name, method, arguments):
            return {**answer, "error": {"code": -32002, "message": "Access denied"}}
        code, result = self._call(role, name, method, arguments)
        return {**answer, "result": [code, result] if result is not None else [code]}

    def _allowed(self, role: str, name: str, method: str, arguments: dict[str, Any]) -> bool:
        if name == "uci" and method in ("get", "set", "add", "delete", "order"):
            config = str(arguments.get("config"))
            base = config == "luci" and method == "get"  # luci-base's ACL lets everybody
            return base or granted(role, "uci", config, "read" if method == "get" else "write")
        return name in ("session", "uci", "luci", "file") or granted(role, "ubus", name, method)

    def _call(self, role: str, name: str, method: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        if (name, method) == ("session", "access"):
            kinds = [str(arguments.get(key)) for key in ("scope", "object", "function")]
            return _OK, {"access": granted(role, kinds[0], kinds[1], kinds[2])}
        if name == "uci" and (method in ("apply", "confirm", "changes") or arguments.get("config") == "cpe-filter"):
            return self.uci.call(method, arguments)
        if name != "cpe-filter":
            return _OK, {"values": {}} if name == "uci" else {}
        self.calls.append((name, method, arguments))
        done = self.router.plugin("call", method, given=json.dumps(arguments))
        try:
            result = json.loads(done.stdout)
        except ValueError:
            return _INVALID, None
        return (_OK, result) if isinstance(result, dict) else (_INVALID, None)


def _node(name: str, role: str) -> dict[str, Any]:
    """A menu's entry as LuCI's dispatcher gives it to a page: whether its ACLs are met, or only for reading."""
    groups = [group for path in (PAGES, name) for group in MENU[path].get("depends", {}).get("acl", [])]
    held = [ROLES[role].get(group, ()) for group in groups]
    return {
        **MENU[name],
        "satisfied": all("read" in kinds for kinds in held),
        "readonly": not all("write" in kinds for kinds in held),
    }


def menu(role: str) -> dict[str, Any]:
    """The menu as LuCI's theme asks for it: a tree."""
    root: dict[str, Any] = {"satisfied": True, "children": {}}
    at = root
    for name, title in (("admin", "Administration"), ("services", "Services")):
        at = at["children"].setdefault(
            name, {"title": title, "satisfied": True, "order": 1, "children": {}, "action": {"type": "firstchild"}}
        )
    app = at["children"].setdefault("cpe-filter", {**MENU[PAGES], "satisfied": True, "children": {}})
    for path, node in MENU.items():
        if path != PAGES:
            app["children"][path.rsplit("/", 1)[1]] = {**node, **_node(path, role)}
    return root
