"""The sinks that come with the program: one file each, found by entry points like anyone else's."""
