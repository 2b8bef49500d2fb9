"""The ISP's side: takes routers' reports, keeps them, and gives them on. Installed with the extra `collector`.

    wire        bytes of a report -> Report; checks against the published schema, and the server's times of events
    limits      what a body and a router may cost: gunzip that stops, token buckets
    identity    who the router is: client certificate, revocation list, the header of a trusted TLS terminator
    app         POST /v1/reports (ASGI): identity, limits, wire, then a sink; 200 only when the sink has kept it
    inbox       a sink: many reports, one durable commit
    jetstream   a sink and its other end: NATS JetStream between `ingest` and `consume`
    store       what every store can do;   sql, schema, sqlite, postgres   how;   migrations/   the tables
    retention   what is kept for how long, and the months' table
    secrecy     whether a key's file is for its owner and group alone
    server      sockets, TLS, time-outs;   config   the TOML file;   metrics, log;   command   the command line

Nothing here runs on a router. Imports point one way: wire, limits, identity <- app <- server <- command, and
wire <- store <- inbox, jetstream <- command.
"""
