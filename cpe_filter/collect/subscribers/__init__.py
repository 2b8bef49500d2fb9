"""Whose router is it: the map from a router's id and a time to a subscriber, from a file or over HTTP.

Knows the map's columns. Must not know reports, cases or pages.
"""
