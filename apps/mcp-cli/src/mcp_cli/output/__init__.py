"""What commands print: for people, as JSON, or as the server's own bytes.

    printer     the form, chosen once for a command, and each kind of answer in that form
    render      a result that is more than text, for people: images saved and named, links, tables
    tables      a list of flat objects as a table

Knows no daemon, no server and no configuration: it is handed its texts.
"""
