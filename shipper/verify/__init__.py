"""Verify: does a destination hold what the journal's ledger says that it was given, hour by hour?

`books.py` is what should be there (the ledger), `compare.py` decides what differs, `held.py` is what is there (a
bucket's objects, or ids that a SIEM exported), `run.py` the whole with its repair, `report.py` what a person sees.
"""
