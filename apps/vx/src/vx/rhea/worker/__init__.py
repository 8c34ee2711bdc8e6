"""`vx-rhea join`: this machine as a worker of a REAPI farm, by the Remote Workers API's Bots service.

    join       the command: its words, its lines, its exit codes
    session    the session with the farm: renewed, lost, opened again
    leases     which leases begin, end and are reported; pure
    action     one Action: inputs, command, outputs
    input_tree the directories of an Action as files, folders and links; pure
    outputs    what an Action made, as an ActionResult
    blob_files inputs that several Actions share, on this disk

Needs the extra `vx[remote]`.  No service loads it: the command runs in the foreground.
"""
