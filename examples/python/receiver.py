"""A webhook receiver, Python 3.9 or newer, nothing to install.

    WEBHOOK_SECRET=whsec_… PORT=9000 python3 receiver.py

It refuses what is not signed, takes each event once, and says when one comes after a newer one of its session.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_SECONDS = 5 * 60
MOST_BYTES = 2 * 1024 * 1024
SECRET = os.environ.get("WEBHOOK_SECRET", "")


def key_of(secret):
    return base64.b64decode(secret[len("whsec_"):]) if secret.startswith("whsec_") else secret.encode()


def is_signed(secret, headers, body, now=None):
    """Whether the signature is right and fresh. `body`: the bytes as they came, not JSON that was parsed and written again."""
    event_id = headers.get("webhook-id") or ""
    timestamp = headers.get("webhook-timestamp") or ""
    if not event_id or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{event_id}.{timestamp}.".encode("latin-1") + body
    right = b"v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest())
    # During a rotation there are two, parted by a blank. The text is compared, not what it decodes to.
    given = (headers.get("webhook-signature") or "").encode("latin-1").split(b" ")
    return any(hmac.compare_digest(one, right) for one in given)


def take(event, late):
    """Yours to write. Store the event and return; do the work later: an answer after 15 s counts as a failure."""
    print(json.dumps({"id": event["id"], "event": event["event"], "cursor": event["cursor"], "late": late}), flush=True)


# A real receiver keeps both in its database, in the transaction that stores the event.
seen = set()
newest = {}
lock = threading.Lock()


def receive(headers, body):
    if not is_signed(SECRET, headers, body):
        return 401
    event_id = headers["webhook-id"]
    with lock:
        # The same id comes again when our answer got lost: say yes, and do nothing.
        if event_id in seen:
            return 200
        event = json.loads(body)
        lane = (event.get("session") or {}).get("id", "")
        # Cursors have one length and sort as text. A late event must not overwrite a newer state.
        late = event["cursor"] < newest.get(lane, "")
        take(event, late)
        seen.add(event_id)
        if not late:
            newest[lane] = event["cursor"]
    return 200


class Handler(BaseHTTPRequestHandler):
    timeout = 15

    def do_POST(self):
        try:
            length = int(self.headers.get("content-length") or 0)
            status = 413 if length > MOST_BYTES else receive(self.headers, self.rfile.read(length))
        except (ValueError, KeyError) as error:
            print(f"Not an event: {error}", file=sys.stderr)
            status = 400
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
