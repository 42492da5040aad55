"""What the process's exit status says; fixed, since scripts and service managers go by it."""

OK = 0
"""Done, or stopped by a signal."""
UNDONE = 1
"""`check`, `status` or `run --once` found something undone."""
USAGE = 2
NO_DAEMON = 69
BUG = 70
IO_FAILED = 74
"""The disk or the journal failed, or stdout was closed."""
IN_USE = 75
"""Another daemon holds the state directory."""
WRONG_CONFIG = 78
