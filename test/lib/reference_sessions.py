"""What sessions come out of a history of events: slow and obvious, to be read as the specification.

A session's row is computed from all of its events, anew after each of them: its version is the ingestion instant of
the last event that made the row differ.

The rules are those of PostHog's third sessions table, as a ClickHouse server computes it (test/model/sessions_chdb.py
runs both): page and screen views go before all other events where the session's entry and end are looked for; each column
of the entry takes the first value that there is; the channel and the lesser ad ids are those of the one event that is the
entry.
"""

import math
import pathlib
import re
import uuid

from rawjson import kind, string_of

TEXT_MAX_BYTES = 1024
URL_MAX_BYTES = 2048
URLS_MAX = 200
URLS_MAX_BYTES = 32 * 1024
BOUNCE_SECONDS = 10

PAGES = ("$pageview", "$screen")
FIRST_TEXTS = {
    "entry_referring_domain": "$referring_domain",
    **{f"entry_{name}": name for name in (
        "utm_source utm_campaign utm_medium utm_term utm_content gclid fbclid gad_source").split()},
}
ENTRY_TEXTS = {f"entry_{name}": name for name in (
    "gclsrc dclid gbraid wbraid msclkid twclid li_fat_id mc_cid igshid ttclid _kx irclid").split()}


def session_id_of(event):
    """A UUID of version 7, in any form in which UUIDs are read; None for anything else."""
    raw = event.properties.get("$session_id")
    if raw is None or kind(raw) != "string":
        return None
    text = string_of(raw)
    dashed = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    if not re.fullmatch(rf"urn:uuid:{dashed}|\{{{dashed}\}}|{dashed}|[0-9a-fA-F]{{32}}", text):
        return None
    found = uuid.UUID(text)
    return found if found.bytes[6] >> 4 == 7 else None


def cut(text, max_bytes):
    return text.encode()[:max_bytes].decode(errors="ignore")


def text_property(event, name):
    """As it is written where it is no string; None for null and for nothing. Each is asked for again and again."""
    texts = event.__dict__.setdefault("texts", {})
    if name not in texts:
        texts[name] = read_text(event, name)
    return texts[name]


def read_text(event, name):
    raw = event.properties.get(name, "null")
    if kind(raw) == "null":
        return None
    max_bytes = URL_MAX_BYTES if name in ("$current_url", "$external_click_url") else TEXT_MAX_BYTES
    return cut(string_of(raw) if kind(raw) == "string" else raw, max_bytes)


def number_property(event, name):
    raw = event.properties.get(name)
    if raw is None or kind(raw) not in ("number", "string"):
        return None
    text = raw if kind(raw) == "number" else string_of(raw)
    if len(raw) > 64 and kind(raw) == "string" or not re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", text, re.A):
        return None
    return float(text) if math.isfinite(float(text)) else None


def path_of(url):
    """From the first slash behind the host to '?' or '#'."""
    return re.match(r"(?:[A-Za-z0-9+.-]+://|//)?[^/?#]*(/[^?#]*)?", url).group(1) if url else None


def host_of(url):
    """Without user and port. A host has a dot inside, and none of some characters."""
    if not url:
        return None
    host = re.match(r"(?:[A-Za-z0-9+.-]+://|//)?([^/?#]*)", url).group(1).rpartition("@")[2].partition(":")[0]
    if len(host) < 3 or "." not in host or host.startswith(".") or host.endswith("."):
        return None
    return None if re.search(r"[ \t<>{}|\\^\[\];=&~%]", host) else host


# ---- channels ----

LISTS = pathlib.Path(__file__).resolve().parents[2] / "src/identity/channel_list.c"


def read_lists():
    """The program's own lists are data, not rules: {name: kind} of sources and of mediums."""
    sources, mediums = LISTS.read_text().split("channel_mediums[]")
    return tuple(dict(re.findall(r'\{ "([^"]+)", CHANNEL_(\w+) \}', text)) for text in (sources, mediums))


SOURCES, MEDIUMS = read_lists()
PAID = {"SEARCH": "Paid Search", "SOCIAL": "Paid Social", "VIDEO": "Paid Video", "SHOPPING": "Paid Shopping",
        "AFFILIATE": "Affiliate", "DISPLAY": "Display", "AUDIO": "Audio"}
ORGANIC = {"SEARCH": "Organic Search", "SOCIAL": "Organic Social", "VIDEO": "Organic Video",
           "SHOPPING": "Organic Shopping", "AFFILIATE": "Affiliate", "DISPLAY": "Display", "AUDIO": "Audio",
           "EMAIL": "Email", "SMS": "SMS", "PUSH": "Push", "REFERRAL": "Referral"}


def lower(text):
    text = "".join(c.lower() if "A" <= c <= "Z" else c for c in text or "")
    return None if text in ("", "null") else text


def kind_of_domain(domain):
    """By the domain itself or the nearest one above it that is listed."""
    labels = domain.split(".")
    for i in range(len(labels)):
        here = ".".join(labels[i:])
        if here in SOURCES:
            return SOURCES[here]
        end = ".".join(labels[i + 1:])
        if re.fullmatch(r"[a-z]{2,3}|com?\.[a-z]{2}", end) and f"{labels[i]}.*" in SOURCES:
            return SOURCES[f"{labels[i]}.*"]
    return None


def channel_type(row):
    source, medium, campaign, referrer, gclid, fbclid, gad_source = (
        lower(row[f"entry_{name}"])
        for name in "utm_source utm_medium utm_campaign referring_domain gclid fbclid gad_source".split())
    source_kind = None
    if source is not None:
        source_kind = SOURCES.get(source) or (kind_of_domain(source) if "." in source else None)
    medium_kind = MEDIUMS.get(medium)
    referrer_kind = kind_of_domain(referrer) if referrer is not None else None
    shop = campaign is not None and re.search(r"(^|[^a-df-z])shop|shopping", campaign)
    video = campaign is not None and "video" in campaign

    if campaign is not None and "cross-network" in campaign:
        return "Cross Network"
    if (medium in ("cpc", "cpm", "cpv", "cpa", "ppc", "retargeting") or (medium or "").startswith("paid")
            or gclid is not None or gad_source is not None):
        return (PAID.get(source_kind) or (shop and "Paid Shopping") or PAID.get(medium_kind) or PAID.get(referrer_kind)
                or (gad_source == "1" and "Paid Search") or (video and "Paid Video")
                or (fbclid is not None and "Paid Social") or "Paid Unknown")
    if referrer == "$direct" and medium is None and source in (None, "direct", "(direct)") and fbclid is None:
        return "Direct"
    return (ORGANIC.get(source_kind) or (shop and "Organic Shopping") or ORGANIC.get(medium_kind)
            or ORGANIC.get(referrer_kind) or (video and "Organic Video") or ((medium or "").endswith("push") and "Push")
            or (fbclid is not None and "Organic Social") or (referrer == "$direct" and "Direct")
            or (referrer is not None and "Referral") or "Unknown")


# ---- a session ----


def earliest(events):
    """Of equally early ones the first ingested."""
    return min(events, key=lambda e: e.timestamp) if events else None


def latest(events):
    """Of equally late ones the last ingested."""
    return max(reversed(events), key=lambda e: e.timestamp) if events else None


def with_text(events, name):
    """Those that have it; of these the page views alone, if there are any."""
    found = [e for e in events if text_property(e, name) is not None]
    return [e for e in found if e.event in PAGES] or found


def text_of_one(event, name):
    return text_property(event, name) if event else None


def kept_urls(pages):
    """Different addresses in the order they came, as many as are kept."""
    urls, size = [], 0
    for event in pages:
        url = text_property(event, "$current_url")
        if not url or url in urls or len(urls) == URLS_MAX or size + len(url.encode()) > URLS_MAX_BYTES:
            continue
        urls.append(url)
        size += len(url.encode())
    return urls


def row_of(events):
    """The row of a session with these events, in the order of ingestion."""
    pages = [e for e in events if e.event in PAGES]
    count = {name: sum(e.event == name for e in events) for name in ("$pageview", "$autocapture", "$screen")}
    start, end = min(e.timestamp for e in events), max(e.timestamp for e in events)
    seconds = (end - start) // 1_000_000
    entry = earliest(pages or events)
    with_url = with_text(events, "$current_url")
    entry_url, end_url = (text_of_one(e, "$current_url") for e in (earliest(with_url), latest(with_url)))
    click = latest([e for e in events if text_property(e, "$external_click_url") is not None])
    vitals = earliest([e for e in events if number_property(e, "$web_vitals_LCP_value") is not None])
    urls = kept_urls(pages)
    row = {
        "distinct_id": cut(latest(events).distinct_id, TEXT_MAX_BYTES),
        "start_timestamp": start,
        "end_timestamp": end,
        "urls": urls,
        "num_uniq_urls": len(urls),
        "entry_current_url": entry_url,
        "entry_pathname": path_of(entry_url),
        "entry_hostname": host_of(entry_url),
        "end_current_url": end_url,
        "end_pathname": path_of(end_url),
        "end_hostname": host_of(end_url),
        "exit_current_url": end_url,
        "exit_pathname": path_of(end_url),
        **{column: text_of_one(earliest(with_text(events, name)), name) for column, name in FIRST_TEXTS.items()},
        **{column: text_property(entry, name) for column, name in ENTRY_TEXTS.items()},
        "pageview_count": count["$pageview"],
        "autocapture_count": count["$autocapture"],
        "screen_count": count["$screen"],
        "page_screen_autocapture_count_up_to": min(sum(count.values()), 2),
        "session_duration": seconds,
        "duration": seconds,
        "is_bounce": None if count["$pageview"] == 0 else not (
            count["$pageview"] > 1 or count["$autocapture"] > 0 or seconds >= BOUNCE_SECONDS),
        "last_external_click_url": text_property(click, "$external_click_url") if click else None,
        "vitals_lcp": number_property(vitals, "$web_vitals_LCP_value") if vitals else None,
    }
    row["channel_type"] = channel_type({column: text_property(entry, name) for column, name in FIRST_TEXTS.items()})
    return row


class Sessions:
    """The sessions of one project."""

    def __init__(self, project):
        self.project = project
        self.events = {}  # by session id
        self.last = {}  # (row, version) by session id

    def apply(self, event):
        session_id = session_id_of(event)
        if session_id is None:
            return
        events = self.events.setdefault(session_id, [])
        events.append(event)
        row = row_of(events)
        if session_id not in self.last or self.last[session_id][0] != row:
            self.last[session_id] = row, event.inserted_at

    def rows(self):
        for session_id, (row, version) in self.last.items():
            yield {"session_id": str(session_id), "session_id_v7": str(session_id.int), "team_id": self.project, **row,
                   "_inserted_at": version}
