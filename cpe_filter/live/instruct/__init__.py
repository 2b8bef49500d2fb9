"""Instructions of the ISP's desk for this router: judged in a child process, carried out by requests to the control.

Knows the reports, the control, and signed documents in a child. Must not know how a document came. In the package of
the reports, because they bring the instructions and take the answers.
"""
