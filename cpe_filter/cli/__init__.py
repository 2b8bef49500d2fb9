"""The command line of `cpe-filter`: arguments in, exit code and lines of text out.

Knows every command and the exit codes. Must not do a command's work, which belongs to its room. `main` and `run` stay
in a router's memory; each command imports whatever else it needs.
"""
