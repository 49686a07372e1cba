DROP TRIGGER rule_changed ON rules;
DROP TRIGGER rule_metric_changed ON rule_metrics;
DROP FUNCTION note_rule_change();
