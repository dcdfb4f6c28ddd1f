"""PolyAI's two APIs over HTTP: the only client code that knows aiohttp."""
