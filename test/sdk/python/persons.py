"""A story of people with the real posthog SDK: persons.py HOST TOKEN."""

import sys

import posthog

errors = []
client = posthog.Posthog(sys.argv[2], host=sys.argv[1], on_error=lambda e, _: errors.append(str(e)), flush_interval=0.2)

client.capture("nobody yet", properties={"n": 1})  # without a distinct id: personless
client.capture("first", distinct_id="ann", properties={"n": 2, "$set": {"plan": "free"}, "$set_once": {"from": "ad"}})
client.set(distinct_id="ann", properties={"plan": "paid", "email": "ann@example.com"})
client.set_once(distinct_id="ann", properties={"from": "mail", "born": 1990})
client.alias("ann", "ann-on-the-phone")  # the event's distinct_id is the first
client.capture("on the phone", distinct_id="ann-on-the-phone", properties={"n": 3})
with posthog.new_context(client=client):
    posthog.identify_context("bob")
    client.capture("in a context", properties={"n": 4})
client.set(distinct_id="bob", properties={"email": "bob@example.com"})
client.group_identify("company", "acme", {"plan": "big", "seats": 5})
client.group_identify("company", "acme", {"seats": 6})
client.capture("of a company", distinct_id="bob", properties={"n": 5}, groups={"company": "acme", "team": "blue"})
client.shutdown()
if errors:
    sys.exit("\n".join(errors))
