"""Sends a text and reads the events that follow. Python 3.9 or newer, nothing to install.

    CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 python3 client.py
"""

import itertools
import json
import os
import time
import urllib.error
import urllib.request

BASE = os.environ.get("CHASQUI", "http://localhost:8000/api/v1")


def call(method, path, body=None, headers=None):
    request = urllib.request.Request(BASE + path, method=method, headers={"Authorization": f"ApiKey {os.environ['KEY']}", **(headers or {})})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        # Longer than the longest wait of ours.
        with urllib.request.urlopen(request, timeout=40) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        error = json.load(refusal)["error"]
        raise RuntimeError(f"{error['code']}: {error['message']}") from refusal


# Where the log stands before we send: everything after it is ours to read.
after = call("GET", "/events?limit=1")["meta"]["latestCursor"]

# The same key again gives the same answer, never a second message. Take something of yours, such as an order's number.
sent = call(
    "POST",
    "/messages/send-text",
    {"recipient": os.environ["TO"], "message": "Hello from Python", "queueIfOffline": True, "async": True},
    {"Idempotency-Key": os.environ.get("ORDER", f"order-{time.time()}")},
)
print("accepted", sent["data"]["id"], sent["data"]["status"], flush=True)

# Waits up to 20 s for the next events. Keep the cursor, and nothing is missed or seen twice, however long you were away.
rounds = os.environ.get("ROUNDS")
for _ in range(int(rounds)) if rounds else itertools.count():
    page = call("GET", f"/events?after={after}&types=message.*&wait=20")
    for event in page["data"]:
        print("event", event["cursor"], event["type"], event["data"].get("id"), flush=True)
    after = page["meta"]["nextCursor"]
