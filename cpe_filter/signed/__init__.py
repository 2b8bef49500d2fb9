"""Signed documents of the ISP: their signature, their audience, and their dates. docs/provisioning.md.

Knows Ed25519, signify's files, the folder of keys, and the header of a document. Must not know what a document asks
for, or how it came. For short-lived processes and children: the running filter never imports it.
"""
