-- CASCADE takes the triggers along.
DROP FUNCTION note_catalog_change() CASCADE;
