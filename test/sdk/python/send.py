"""Sends events with the real posthog SDK. Prints one JSON object per event it was told to send.

Usage: send.py HOST TOKEN COUNT [gzip]
"""

import datetime
import json
import sys
import uuid

import posthog

host, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
errors = []
client = posthog.Posthog(token, host=host, gzip="gzip" in sys.argv, on_error=lambda e, _: errors.append(str(e)),
                         flush_at=20, flush_interval=0.2)
began = datetime.datetime.now(datetime.timezone.utc)
for i in range(count):
    event_id = str(uuid.uuid4())
    when = began - datetime.timedelta(minutes=i, microseconds=i)
    properties = {"n": i, "price": 54.25, "big": 2**70, "text": "naïve \u2028 ✓ \x00", "none": None,
                  "list": [1, None, {"deep": True}], "nan": float("nan")}
    client.capture(event=f"python {i % 3}", distinct_id=f"user-{i % 7}", properties=properties, timestamp=when,
                   uuid=event_id)
    print(json.dumps({"uuid": event_id, "event": f"python {i % 3}", "distinct_id": f"user-{i % 7}", "n": i,
                      "timestamp": when.isoformat(), "big": 2**70}))
client.shutdown()
if errors:
    print("\n".join(errors), file=sys.stderr)
    sys.exit(1)
