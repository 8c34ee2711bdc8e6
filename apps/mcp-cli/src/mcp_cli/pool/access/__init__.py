"""Access to servers over HTTP: tokens that are kept, and the end of an OAuth flow."""
