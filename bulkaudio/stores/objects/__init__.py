"""
Recordings in an object store: S3 and its like, Google, Azure.

The one place that imports obstore, which the extra ``bulkaudio[objects]`` brings.
"""
