#!/bin/sh
# Sends a text and reads the events that follow, with curl and nothing else.
#
#   CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 sh client.sh
set -eu
CHASQUI=${CHASQUI:-http://localhost:8000/api/v1}

# The key goes in by a file, not by an argument: arguments are there for everybody on the machine to see.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
printf 'Authorization: ApiKey %s\n' "$KEY" > "$headers"

# Where the log stands before we send: everything after it is ours to read.
after=$(curl -sS -m 40 -H "@$headers" "$CHASQUI/events?limit=1" | sed 's/.*"latestCursor":"\([0-9]*\)".*/\1/')

# The same Idempotency-Key again gives the same answer, never a second message. Take something of yours, such as an order's number.
curl -sS -m 40 -H "@$headers" -H 'Content-Type: application/json' -H "Idempotency-Key: ${ORDER:-order-$$}" \
  -d "{\"recipient\":\"$TO\",\"message\":\"Hello from curl\",\"queueIfOffline\":true,\"async\":true}" \
  "$CHASQUI/messages/send-text"
echo

# Waits up to 20 s for the first event behind the cursor; meta.nextCursor is where to go on.
curl -sS -m 40 -H "@$headers" "$CHASQUI/events?after=$after&types=message.*&wait=20"
echo
