"""The policy and the exemptions: what the Internet provider or the owner of the router has decided.

Knows the files' keys, ranges and errors. Must not know how a policy is carried out: packets, devices, the kernel.
"""
