"""What a straightforward project does, to compare with: a serializer, the ORM, and `bulk_create`.

It is spared what the hub does besides: rate limits, rules, last_seen, latest values, ranges, counting duplicates.
"""
