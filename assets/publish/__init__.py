"""What leaves the house: immutable releases, their report and their lists.

Belongs here: building, verifying, swapping and rolling back releases, and the pages and lists inside them. Not here:
any number that is not already in the warehouse.
"""
