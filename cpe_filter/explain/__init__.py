"""The responder: tells refused senders why, over SMTP (554). A process of its own, without rights.

Knows SMTP's server side and the policy's text. Must not know packets, devices or the kernel.
"""
