"""Incidents of cases for other programs: XARF, IntelMQ, CSV.

Knows the formats and their fields. Must not know how reports arrive or who looks at a page.
"""
