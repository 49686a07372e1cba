"""The data model as DBML and as a picture, read from the models: no database and no other program is needed."""
