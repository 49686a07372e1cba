"""What the hub asks of TimescaleDB, edition by edition.

`edition` says what the server offers, `lifecycle` reads the settings, `plan` lists the steps (pure),
`state` looks at what is there already, `setup` carries the steps out, `retention` drops old readings.
"""
