"""A simulated fleet of routers, each with its own certificate, that reports to a real collector.

lives       what becomes of each router over weeks: pure, from a seed
senders     the lives as reports over mTLS: first the weeks that were, then live
__main__    `python -m tests.fleet`: authority, collector on SQLite, fleet; prints where the page is

rollout     another fleet, of routers in memory that judge real documents: a bad policy and its halt (`make rollout`)
"""
