"""The ISP's side: takes routers' reports, keeps them, and gives them on. Installed with the extra `collector`.

    wire         bytes of a report -> Report: checked against report-v1.schema.json, with the server's times of events
    intake/      sockets and TLS (server), the router (identity), what it may cost (limits), POST /v1/reports (app),
                 and the ways to the store: one durable commit for many reports (inbox), NATS JetStream (jetstream)
    store/       what every store can do (base), SQLite and PostgreSQL, migrations/, retention, the lease of one worker
    cases/       the abuse desk's cases, their notifications and webhooks
    export/      XARF, IntelMQ and CSV
    subscribers/ whose router it is
    web/         the fleet page
    config       the TOML file;   command, tasks   the command line;   metrics, log, file_modes

Nothing here runs on a router. Imports point one way: wire <- store <- intake, cases <- export, web <- command.
"""
