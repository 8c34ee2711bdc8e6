"""A file formatted by a running blackd, by nothing but the standard library: PORT, FILE."""

import http.client
import sys

with open(sys.argv[2], "rb") as file:
    source = file.read()
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("POST", "/", source, {"X-Protocol-Version": "1"})
reply = connection.getresponse()
formatted = reply.read()
if reply.status == 200:
    with open(sys.argv[2], "wb") as file:
        file.write(formatted)
elif reply.status != 204:
    sys.exit(formatted.decode())
