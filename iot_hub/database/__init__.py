"""The database as an operator sees it: who may read and write what (`roles`), and how it is doing (`report`)."""
