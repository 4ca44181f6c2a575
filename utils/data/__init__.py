"""From raw images of any form to the six arrays of a data set.

Imports core and machine.
"""
