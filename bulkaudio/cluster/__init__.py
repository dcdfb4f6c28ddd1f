"""
A run that is spread over workers: the only place that knows Dask.

The process that was started stays the run: it lists, plans, holds the lock, and alone writes the
ledger. Workers get lists of recordings (shards), fetch them with the parts that fetch in one process,
and send outcomes back. Importing this imports nothing: `distributed` is an extra.
"""
