"""
Mistakes made on purpose, each of which some test has to notice.

``python -m tests.mutants`` makes them one at a time in a copy of this checkout, runs the test that
is to notice, and prints who noticed what. It ends with 1 when one went unnoticed. Words behind it
choose mutants by part of their names.
"""
