"""The honest world: where mail really goes, what servers really answer, and who really sends.

`python -m tests.evaluate.world` drives each sender's years through the detector. `internet` and `manners` are the
servers, `line` the home's Internet access, `programs` the clients, `converse` one connection, `delivery` a queue,
`legit` and `bots` the senders of the development set, `measure` and `table` the run. A second set, `validation`, is
written by others (see `sets`).
"""
