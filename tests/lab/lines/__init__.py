"""Lines and routers that people have, built in the lab, and whether mail on each is filtered or said to be unwatched.

`python -m tests.lab.lines` measures the table "line x mode x IPv4/IPv6" (`make lines`). `lay` builds a line with the
kernel's own devices where it has them, else with `carrier`'s; `cell` runs the filter on it and judges what it did and
said; `table` writes docs/lines.md. Must not know how the filter works.
"""
