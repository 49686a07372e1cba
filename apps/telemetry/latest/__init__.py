"""The newest reading of each series, in Redis, while someone asks for it (docs/decisions/0006-latest-values.md).

A value is read from the database when it is missing and then lives for `cache.LIFETIME_MS`. For that long the
writers move it forward with every newer reading that they commit; they never lengthen its life.

**The bound.** Whoever asks is answered with nothing older than what had been acknowledged LIFETIME_MS (2 seconds)
before the request came in, whatever dies: a writer with values not yet told, Redis with or without its data, the
way between them. For the life of an entry is counted, by the clock of Redis, from before the database was asked.
With all of them well it is the writers' pause (50 ms) and one round trip.
"""
