"""How signed documents spread over the fleet: what routers report, which ones a document concerns, whether to halt.

Knows the tables of documents and the index of what is published. Must not know HTTP, HTML or keys.
"""
