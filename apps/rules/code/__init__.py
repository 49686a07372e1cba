"""Rules as code: a YAML document beside the rules of the database. Reading and testing it need no database."""
