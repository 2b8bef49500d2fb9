"""`collector doctor`: whether what is deployed works, a line for each thing: ok, warn or fail.

    finding   a line
    files     the configuration's files: modes, certificates, secrets
    store     reachable, migrated, writable; room on the disk
    network   what listens here, NATS, the relay, names
    examine   all of it, in order, and the exit status

Knows the configuration and how each thing is tried. Must not change anything: the store is neither made nor migrated,
and nothing but the store's own row of a probe is written. Runs with the rights of its caller: those of the
service's user show the most.
"""

from cpe_filter.collect.doctor.examine import examine as examine
