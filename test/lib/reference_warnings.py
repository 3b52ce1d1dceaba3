"""What is told of an event by itself, whoever its person is: slow and obvious, to be read as the specification.

Names are the public server's (nodejs/src/ingestion/common/ingestion-warning-types.ts of PostHog/posthog); what is told of
merges, sizes and groups is in reference_persons and reference_groups.
"""

import re
import uuid

from rawjson import kind, string_of, text_of

DIVERGENT_US = 3 * 86_400 * 1_000_000
DASHED = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# Libraries whose events are known to have other uuids, or none of their own.
OTHER_UUIDS = set("""
web posthog-node posthog-python posthog-go posthog-ios posthog-android posthog-ruby posthog-php posthog-dotnet posthog-rs
posthog-react-native posthog-flutter posthog-edge posthog-java posthog-chrome-extension posthog-capture-v1-internal
detsys-ids-client determinate-nixd pixiehog github.com/hollow-cube/posthog-java
""".split()) | {""}


def is_text(raw):
    """A string with something in it."""
    return raw is not None and kind(raw) == "string" and string_of(raw).strip(" \t\n\v\f\r") != ""


def is_uuid(raw):
    return kind(raw) == "string" and re.fullmatch(rf"urn:uuid:{DASHED}|\{{{DASHED}\}}|{DASHED}|[0-9a-fA-F]{{32}}", string_of(raw))


def warnings_of(event):
    """The types, each once."""
    found = []
    said = event.properties
    if said.get("$process_person_profile", "true") not in ("true", "false"):
        found.append("invalid_process_person_profile")
    if said.get("$session_id", "null") != "null" and not is_uuid(said["$session_id"]):
        found.append("invalid_event_session_id")
    if is_text(said.get("$window_id")) and not is_text(said.get("$session_id")):
        found.append("missing_session_id_with_window_id")
    if event.event == "$$client_ingestion_warning":
        found.append("client_ingestion_warning")
    made = uuid.UUID(event.uuid)
    lib = said.get("$lib")
    if made.bytes[6] >> 4 == 7:
        if abs(event.timestamp // 1000 - (made.int >> 80)) > DIVERGENT_US // 1000:
            found.append("event_uuid_timestamp_divergent")
    elif (text_of(lib) if lib is not None and kind(lib) == "string" else "") not in OTHER_UUIDS:
        found.append("event_uuid_not_v7")
    return found
