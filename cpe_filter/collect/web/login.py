"""The page that asks for name and password."""

from __future__ import annotations

from cpe_filter.collect.password import MAX_LENGTH
from cpe_filter.collect.web.layout import attribute, frame, span


def page(back: str, wrong: bool = False, slow: int = 0, out: bool = False) -> str:
    """back: where to go then, a path of ours. slow: seconds until another try is taken. out: just logged out."""
    said = ""
    if slow:
        said = f'<p class="said wrong" role="alert">Too many tries. Wait {span(slow)}.</p>'
    elif wrong:
        said = '<p class="said wrong" role="alert">Name or password is wrong.</p>'
    elif out:
        said = '<p class="said" role="status">You are logged out.</p>'
    first = ' aria-describedby="why"' if wrong else ""
    said = said.replace('<p class="said wrong"', '<p id="why" class="said wrong"')
    body = (
        f'<div class="login card">{said}<h1>cpe-filter fleet</h1><form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{attribute(back)}">'
        f'<div><label for="name">Name</label><input id="name" name="name" autocomplete="username" required '
        f'maxlength="64" autocapitalize="none" spellcheck="false"{first}></div>'
        f'<div><label for="password">Password</label><input id="password" name="password" type="password" '
        f'autocomplete="current-password" required maxlength="{MAX_LENGTH}"></div>'
        '<div><button class="main">Log in</button></div></form></div>'
    )
    return frame("Log in", body, None, False)
