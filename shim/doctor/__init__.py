"""`interpose doctor`: one module per group of sections, each given what was read of the machine.

`gather` reads; the others only judge, so that they are tested without a machine.
"""
