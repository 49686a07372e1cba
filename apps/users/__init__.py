"""WHO: accounts, roles, login."""
