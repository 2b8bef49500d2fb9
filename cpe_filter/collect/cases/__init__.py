"""The abuse desk: cases built from incidents, what people do about them, notifications and webhooks.

Knows the tables of store/migrations/0002_cases.sql. Must not know HTTP servers, or how routers report.
"""
