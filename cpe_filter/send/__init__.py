"""The uplink: sends what waits in the spool to the collector over TLS. A package of its own on OpenWrt.

Knows HTTP, TLS, certificates and how to drop privileges. Must not know packets, devices or the kernel.
"""
