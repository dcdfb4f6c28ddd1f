"""Where recordings are written: one protocol, one module for each kind of place."""
