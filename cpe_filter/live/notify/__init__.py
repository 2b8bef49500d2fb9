"""The notice in the subscriber's way: whose HTTP leads to it, and what follows from an answer.

`desk` is the part of the daemon, `showing` decides who is shown it and keeps the answers (pure), `channel` is the
socket to the server that shows it.

Ships with the responder, which serves it. Knows devices and the gate's sets. Must not know HTTP or words (explain).
"""
