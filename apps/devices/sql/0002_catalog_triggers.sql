-- Tells the caches of the ingest processes what changed, whoever changed it (API, admin, psql).
-- New devices and keys need no notice: what a cache does not know it looks up. Columns that change all the time
-- (last_seen, last_used_at) don't count.

CREATE FUNCTION note_catalog_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    device uuid;  -- none: forget everything
BEGIN
    IF TG_TABLE_NAME = 'devices' THEN
        device := OLD.id;
    ELSIF TG_TABLE_NAME = 'device_metrics' THEN
        device := coalesce(NEW.device_id, OLD.device_id);
    END IF;
    INSERT INTO catalog_changes (xid, device_id, changed_at)
    VALUES (pg_current_xact_id()::text::bigint, device, now());
    RETURN NULL;
END $$;

CREATE TRIGGER catalog_devices AFTER DELETE OR UPDATE OF serial_number, owner_id, status, device_type_id
    ON devices FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
CREATE TRIGGER catalog_device_metrics AFTER INSERT OR DELETE OR UPDATE OF metric_id, min_value, max_value, is_watched
    ON device_metrics FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
CREATE TRIGGER catalog_metrics AFTER UPDATE OF name, data_type
    ON metrics FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
CREATE TRIGGER catalog_device_types AFTER UPDATE OF metric_name, metric_min, metric_max
    ON device_types FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
CREATE TRIGGER catalog_device_keys AFTER DELETE OR UPDATE OF revoked_at, expires_at, scope, device_id, owner_id,
    messages_per_minute, readings_per_minute
    ON device_keys FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
CREATE TRIGGER catalog_users AFTER DELETE OR UPDATE OF is_active, role, password, messages_per_minute, readings_per_minute
    ON users FOR EACH ROW EXECUTE FUNCTION note_catalog_change();
