"""The fleet page: what the ISP's people see of the fleet, behind a login, in a browser without JavaScript.

    password    a password's hash (scrypt), and whether a password fits it
    sessions    who is logged in; how often somebody may try
    access      who asks: a session's cookie, or the header of a trusted reverse proxy; viewer or desk
    figures     the store's tables -> counts by day, month, region, model; the funnel; coverage
    draw        counts -> charts as inline SVG, each with its words and its table
    layout      the frame of every page, forms, links;   style   how it looks
    overview, caselist, casefile, login    the pages
    site        routes, headers, forms (ASGI);   listener   the listener for it, TLS, new users

Strings of routers and of subscribers are hostile: they reach a page by `report.markup.shown` alone, and a query as a
parameter. A page loads its own style sheet and its own icon, and nothing else. Imports point one way:
password, sessions <- access <- site, and figures, draw, layout <- the pages <- site.
"""
