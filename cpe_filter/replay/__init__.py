"""Runs capture files through the engine and shows the result: at a terminal, as JSON, as an HTML page. Not on a router.

    command      the options; judges captures one after the other, or as one
    results      output (which form), text, color, spreadsheet (CSV), follow (verdicts as they come)
    drawings     page, and on it or in a terminal: chart, svg, axis, labels, style
    the engine   feed (packets -> engine), copies (a packet seen twice), packet_clock, replay (the result), timeline
                 (how a score developed), violations (their table)
    layers       frames -> IP packets: the walk (layers, walk) through links, wireless, network (IP), fragments and
                 tunnels, with one of the reasons for each frame that cannot be looked into
    inputs       sources (files, folders, several files as one), stream (files, pipes, compression), formats (capture,
                 pcap, pcapng, frame; foreign names others), order (of times), interrupt (Ctrl-C), progress

Each of these imports only what stands below it. Knows captures and the engine's results. Must not judge, and must not
know the live filter.
"""
