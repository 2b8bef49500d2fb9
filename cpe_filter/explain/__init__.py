"""The responder: explains refusals to senders, over SMTP (554). A process of its own, without rights.

Knows SMTP's server side and the policy's text. Must not know packets, devices or the kernel.
"""
