"""`make soak`: tries for an hour to break the promise that nothing is lost, and counts at the end.

Real processes: a simulated tenant and real servers as destinations, all with faults that come and go, and the daemon,
which is killed every few seconds. One seed decides which fault comes when; what it hits depends on the machine.
"""
