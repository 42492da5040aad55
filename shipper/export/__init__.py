"""Export: a part of what a tenant still has, into a file, stdout or a sink, without a journal or a daemon of its own.

`output.py` is the file and how it is gone on with, `session.py` the whole; into a sink it is the same work as a replay.
"""
