"""The notice in the subscriber's way: whose HTTP leads to it, and what follows from an answer.

Ships with the responder, which serves it. Knows devices and the gate's sets. Must not know HTTP or words (explain).
"""
