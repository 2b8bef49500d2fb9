"""What others are told: people at a terminal, the subscriber, the ISP.

Knows how facts are worded. Must not judge or enforce.
"""
