"""The report: an archive as one HTML page that needs nothing but a browser."""
