"""`daemonry top`: a live screen of this user's daemons and homes, with keys to act on them."""
