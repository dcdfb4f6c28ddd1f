"""What a scheduler makes of an exit code; one table for all of them."""

FINE = (8, 75)
"""A budget that was used up, and an archive that another run holds: a later night goes on."""

STOPPED = 143
"""SIGTERM, after a clean drain: somebody told it to stop."""

HOPELESS = (2, 4, 6, 7)
"""Usage, key, this machine, damage: trying again helps nobody, a person has to look."""

TRIES_AGAIN = 3
"""After any other code, such as 3 and 5."""

TRY_AGAIN_AFTER_S = 20 * 60
