"""Replacements for modules of the standard library that save memory and flash on a router. Each says what it saves.

Knows the standard library and the kernel. Must not know anything of cpe-filter.
"""
