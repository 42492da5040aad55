"""Replay: events that were there already, into one sink once more, beside the live lanes and without touching them.

`supply.py` is where the events come from (journal, source, archive), `lane.py` what delivery sees of them,
`progress.py` how far an interrupted replay got, `run.py` the whole; `bars.py` is what a terminal shows meanwhile.
"""
