"""The uplink: brings what waits in the spool to the collector over TLS. A package of its own on OpenWrt.

Knows HTTP, TLS, certificates and the way from root to an ordinary user. Must not know packets, devices or the kernel.
"""
