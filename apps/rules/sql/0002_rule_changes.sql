-- Tells the worker processes which rules to read anew, whoever changed them (API, admin, psql). A column that changes
-- with every event (last_triggered_at) does not count.

CREATE FUNCTION note_rule_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END);
BEGIN
    INSERT INTO rule_changes (xid, rule_id, changed_at)
    VALUES (pg_current_xact_id()::text::bigint, (changed ->> TG_ARGV[0])::uuid, now());
    RETURN NULL;
END $$;

CREATE TRIGGER rule_changed AFTER INSERT OR DELETE
    OR UPDATE OF owner_id, device_id, device_type_id, metric_id, condition, schedule, cooldown_minutes, is_enabled
    ON rules FOR EACH ROW EXECUTE FUNCTION note_rule_change('id');
CREATE TRIGGER rule_metric_changed AFTER INSERT OR DELETE OR UPDATE
    ON rule_metrics FOR EACH ROW EXECUTE FUNCTION note_rule_change('rule_id');
