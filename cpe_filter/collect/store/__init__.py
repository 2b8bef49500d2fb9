"""The tables: reports into SQLite or PostgreSQL, their versions, what is kept for how long.

Knows SQL. Must not know HTTP, cases or pages.
"""
