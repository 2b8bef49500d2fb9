"""The page that asks for name and password.

Knows the form. Must not know users or sessions.
"""

from __future__ import annotations

from cpe_filter.collect.password import MAX_LENGTH
from cpe_filter.collect.web.layout import attribute, frame, span


def page(target: str, failed: bool = False, wait_s: int = 0, logged_out: bool = False) -> str:
    """target: where a login leads, a path of this site. wait_s: seconds until another attempt is allowed."""
    message = ""
    if wait_s:
        message = f'<p class="message wrong" role="alert">Too many attempts. Wait {span(wait_s)}.</p>'
    elif failed:
        message = '<p class="message wrong" role="alert">Name or password is wrong.</p>'
    elif logged_out:
        message = '<p class="message" role="status">You are logged out.</p>'
    first = ' aria-describedby="why"' if failed else ""
    message = message.replace('<p class="message wrong"', '<p id="why" class="message wrong"')
    body = (
        f'<div class="login card">{message}<h1>cpe-filter fleet</h1><form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{attribute(target)}">'
        f'<div><label for="name">Name</label><input id="name" name="name" autocomplete="username" required '
        f'maxlength="64" autocapitalize="none" spellcheck="false"{first}></div>'
        f'<div><label for="password">Password</label><input id="password" name="password" type="password" '
        f'autocomplete="current-password" required maxlength="{MAX_LENGTH}"></div>'
        '<div><button class="main">Log in</button></div></form></div>'
    )
    return frame("Log in", body, None, False)
