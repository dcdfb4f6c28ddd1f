"""A PolyAI to run against, on loopback."""
