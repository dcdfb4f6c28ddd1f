"""The ledger as a table for others: a row a recording, in a schema that stays."""
