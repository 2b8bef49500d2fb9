"""The fleet page: the fleet as the ISP's staff see it, behind a login, without JavaScript.

    sessions    who is logged in; limits of login attempts
    id_token, provider, oidc, sso   login by an identity provider: tokens, its HTTP, the flow, the endpoints
    access      who sends a request: the session of a cookie, or the header of a trusted reverse proxy
    figures     the tables of the store -> counts by day, month, region, model; the funnel; coverage (figures_sql: SQL)
    draw        counts -> charts as inline SVG, each with its text and its table
    layout      the frame of every page, forms, links;   style   how it looks
    overview, caselist, casefile, login    the pages
    http        forms, errors, headers;   site   routes, permissions, actions (ASGI);   listener   address and TLS

Knows HTML and the tables of the store. Must not know how reports arrive.

Strings of routers and subscribers are hostile: they reach a page only through `texts.html.shown`, and a query only as
a parameter. A page loads its own style sheet and icon, and nothing else. Imports point one way: sessions <- access, and
figures, draw, layout <- the pages <- site <- listener.
"""
