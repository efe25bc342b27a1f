//! import_rules
