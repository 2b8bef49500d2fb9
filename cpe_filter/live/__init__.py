"""The daemon `cpe-filter run` and its parts: everything that exists only while it runs.

    daemon       the loop over parts (part has their protocol), the start and the end;   preflight   checks before it
    gate         packets: the kernel's queue and log -> engine -> verdicts and sets
    rules_in_kernel, ruleset_guard   the ruleset: loaded, replaced, restored when others change it
    control_socket, control, requests, exemption_control, device_search   what people ask of the running filter
    home_watch, ways_out, submissions   what is read now and then: the home, unwatched ways, counts of submission
    log_events, figures, status_files, state, reports   what leaves: the log, status, state, reports and the page
    parts, job   what joins these with the loop; work in steps
    notify/      the notice in the subscriber's way; ships with the responder

Knows the order in which things start and stop, the clock, the poll loop, the log. Must not judge: that is the engine's.
"""
