"""Access to servers over HTTP: OAuth.

    flows       which flow a server's definition asks for
    fresh       what all flows have in common: tokens are renewed before they expire
    machine     the flows without a person
    storage     stored tokens as the SDK wants them
    tokens      where they are stored
    imported    tokens of other programs
    accesses    the known facts of the access, for `auth status`
    loopback    where the browser comes back to
    bounds      how much an authorization server may say, how slowly, and where it may be

`flows`, `fresh`, `machine`, `storage` and `bounds` import the SDK.
"""
