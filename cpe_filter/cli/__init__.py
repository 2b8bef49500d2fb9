"""The command line of `cpe-filter`: arguments in, exit code and lines of text out.

Knows every command and the exit codes. Must not do a command's work, which its room does. `main` and `run` stay in a
router's memory; whatever else a command needs is imported by the command.
"""
