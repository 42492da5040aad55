"""`make mutants`: the test of the tests. Bugs that lose, repeat or alter events are planted one at a time, in a copy of
the project; for each of them the tests that it names must fail.
"""
