"""What is on the wire: packets, streams, SMTP dialogues, sessions.

    packet, stream   bytes -> segments -> bytes in order;   dns, nat64   questions for MX records, prefixes
    session      a connection from its first segment to its last: session_state, phases, acceptance (which segments
                 count), passing, turnaround, tls_volume
    smtp         a dialogue: dialogue_state, states (the table of commands and replies), effects (what a reply does),
                 envelope, waiting (commands without a reply), unseen
                 from the client: client_lines, command, address, client_data, content, tls;   from the server: reply
    facts        what comes of it: replies, events, transactions

Knows bytes and RFCs. Must not know: sockets, clocks, policy, logging, what is good or bad.
"""
