"""Other machines: a shared cache and remote workers, by the Remote Execution API v2.

Needs the extra `vx[remote]`; `settings`, `failures` and `digest_index` do without, and nothing else here is
imported where no remote is set.
"""
