"""The validation set: senders that the detector was never tuned on, by an author who has not read the detector.

Two tables, as `tests.evaluate.world.sets` wants them: `legit.LEGITIMATE` and `bots.BOTS`. Do not look at it while you
change the detector: a run on it is for a release, and is recorded. Each sender's docstring names its sources; (J) is
judgement.
"""
