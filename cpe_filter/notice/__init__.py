"""The subscriber's page: what it says, when it is written. Made in a child process.

Knows devices, standings and the texts. Must not know packets, the kernel or how a page is served.
"""
