"""What saves memory and flash on a router, in place of modules of the standard library. Each says what it saves.

Knows the standard library and the kernel. Must not know anything of cpe-filter.
"""
