"""The ISP's side: receives the reports of routers, stores them, makes cases. Installed with the extra `collector`.

    wire         bytes of a report -> Report: checked against report-v1.schema.json, with the time of each event
    config/      the TOML file: tables (model), keys, reading (file)
    users, password, file_modes, mail_address, indicators, log, metrics   what several of these share
    store/       the interface (base), SQLite and PostgreSQL, migrations/, retention, the lease of one worker
    intake/      listeners (listener, tls, http, server, routers), identity and limits of a router, POST /v1/reports
                 (app), and the ways into the store: one commit for many reports (inbox), NATS JetStream (jetstream)
    subscribers/ the map from routers to subscribers
    cases/       cases (model, query, actions), how they follow from incidents (history, plan, update), notifications
    mail/        notices to subscribers by e-mail, and the bounces that come back
    export/      XARF, IntelMQ and CSV
    web/         the fleet page;   api/   cases for other systems
    enrol/       certificates for routers (EST)
    internal     /metrics, /healthz and /readyz;   expiry   when this process's certificates expire
    service, tasks, trial   processes that run, tasks that end, the folder of a trial
    doctor/      whether what is deployed works
    command      the command line

Knows reports and what an ISP does with them. Must not know how a router judges. Nothing here runs on a router.
Imports point one way: wire, config <- store <- intake, subscribers <- cases <- mail <- export, web, api <- service,
tasks <- doctor <- command.
"""
