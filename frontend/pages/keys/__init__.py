"""Named keys and the audit log, for admins."""
