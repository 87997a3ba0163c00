#!/usr/bin/python3
# gate FOLDER: a server that reads its certificate when it starts, and again on SIGHUP; where it may not, it goes on with
# what it has.
import signal, socket, ssl, sys


def load(*_):
    global context
    fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        fresh.load_cert_chain(sys.argv[1] + "/fullchain.pem", sys.argv[1] + "/privkey.pem")
        context = fresh
    except OSError as err:
        print(err, file=sys.stderr)


load()
signal.signal(signal.SIGHUP, load)
listener = socket.create_server(("127.0.0.1", 443))
while True:
    client, _ = listener.accept()
    client.settimeout(5)
    try:
        context.wrap_socket(client, server_side=True).close()
    except OSError:
        client.close()
