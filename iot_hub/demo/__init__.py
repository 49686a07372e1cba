"""A small demo world: a factory of alex's and a laboratory of jordan's, with a week behind them.

`people`, `fleet` and `rulebook` say who and what there is, `signals` how it behaves, `incidents` what went
wrong; `seeding` puts it into the database, through the services that the hub itself uses.
"""
