"""Runs capture files through the engine and shows the result: at a terminal, as JSON, as an HTML page. Not on a router.

Knows captures and the engine's results. Must not judge, and must not know the live filter.
"""
