# Puts the time into the store, once a second.
# A file called `broken` beside it shows what becomes of a service that fails again and again.

if [ -e broken ]; then
    echo "the spring is broken"
    exit 7
fi

put='import os, socket, sys
store = socket.socket(socket.AF_UNIX)
store.connect(os.environ["DAEMONRY_SOCKET_STORE"])
store.sendall(b"set " + sys.argv[1].encode() + b"\n")
store.recv(100)'

python3 -c "$put" "$(date +%H:%M:%S)" || exit 1
echo ticking
while sleep 1; do
    python3 -c "$put" "$(date +%H:%M:%S)" || exit 1
done
