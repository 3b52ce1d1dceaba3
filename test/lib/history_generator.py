"""Random histories in which everything happens often: few people with few ids who are merged, refused, deleted and come
back, events late and at equal times, equal keys, escapes, values that differ by a byte only."""

import random
import uuid

from history import write_delete, write_event
from rawjson import quote
from reference_persons import AUTOMATIC, person_id_of

START_US = 1_750_000_000_000_000
SECOND_US = 1_000_000

EVENTS = {"$pageview": 20, "$autocapture": 8, "clicked": 8, "$identify": 14, "$create_alias": 6, "$merge_dangerously": 4,
          "$set": 6, "$groupidentify": 10, "$screen": 4, "$exception": 3, "$$heatmap": 2, "$web_vitals": 3,
          "$pageleave": 4, "autocapture": 1, "$feature_flag_called": 5, "$$client_ingestion_warning": 1}
ILLEGAL_IDS = ["null", "undefined", "0", "Anonymous", "'guest'", '"NaN"', " ", "[object Object]", "TRUE", "none", "None"]
LEGAL_LOOK_ALIKES = ["NULL", "nan", "0.0", "guests", "'guest", "NONE"]
NAMES = ["$os_name", "$initial_os_name", "$initial_os", "$initial_utm_source", "$creator_event_uuid", "email", "name", "plan", "a", "b", "$browser", "$initial_browser", "$os", "utm_source", "$geoip_city_name",
         "$geoip_latitude", "$geoip_country_code", "\u00e9", "k\"ey"]
VALUES = ["1", "1.0", "54.10", '"x"', '"\\u0078"', '"X"', "null", "true", "[]", '{"a": 1}', '{"a":1}', '""', '"\u00e9"',
          "123456789012345678901234567890"]
LIBS = ["web", "posthog-python", "posthog-node", "posthog-ios", "own-client", ""]
URLS = ["https://a.example/", "https://a.example/1", "https://www.b.example:8080/x/y?q=1#z", "https:\\/\\/a.example\\/1",
        "http://localhost:3000/x", "/only/path", "", "https://me@c.example", "ios-app://screen.main/2"]
SOURCES = ["google", "newsletter", "FACEBOOK", "unlisted", "", "(direct)", "null"]
MEDIUMS = ["cpc", "email", "social", "paid_social", "ios-push", "referral", "", "CPM"]
CAMPAIGNS = ["shop", "workshop", "video", "x", "Cross-Network 1", ""]
REFERRERS = ["$direct", "www.google.co.uk", "t.co", "blog.example", "mail.google.com", ""]
GROUP_TYPES = ["company", "team", "project", "region", "office", "building", "", "x" * 401]


class Generator:
    def __init__(self, seed, projects, commands, big, first_instant):
        self.random = random.Random(seed)
        self.projects = projects
        self.big = big
        self.now = first_instant
        self.ids = [f"anon-{i}" for i in range(self.random.randint(1, 8))]
        self.ids += [f"user-{i}" for i in range(self.random.randint(1, 6))]
        if self.chance(0.3):
            self.ids.append("User-0")
        self.sessions = [self.uuid7() for _ in range(self.random.randint(1, 3))]
        # Some histories hardly ever delete, or hardly ever go without persons; some end while all are still strangers.
        self.personless = self.random.choice([0.02, 0.2, 0.6])
        self.deletes = self.random.choice([0.0, 0.03, 0.1])
        self.commands = self.random.randint(max(1, commands // 10), commands)
        self.long_urls = self.chance(0.05)

    def uuid7(self):
        n = self.random.getrandbits(128)
        return uuid.UUID(int=n & ~(0xF << 76) & ~(3 << 62) | 7 << 76 | 2 << 62)

    def event_uuid(self):
        """Mostly of the time that it is; sometimes of another, or of another kind."""
        if self.chance(0.1):
            return uuid.UUID(int=self.random.getrandbits(128), version=4)
        ms = self.now // 1000 + (self.pick([-5, 5]) * 86_400_000 if self.chance(0.05) else 0)
        return uuid.UUID(int=ms << 80 | 7 << 76 | 2 << 62 | self.random.getrandbits(62))

    def chance(self, p):
        return self.random.random() < p

    def pick(self, values):
        return self.random.choice(values)

    def distinct_id(self):
        if self.chance(0.03):
            return self.pick(ILLEGAL_IDS + LEGAL_LOOK_ALIKES)
        return self.pick(self.ids)

    def tick(self):
        self.now += self.pick([1, 1, 50, 1000, SECOND_US, 20 * SECOND_US])
        return self.now

    def timestamp(self):
        """Mostly when it was ingested, to the second so that some are equal; sometimes much earlier, or later."""
        t = self.now // SECOND_US * SECOND_US
        return t + self.pick([0, 0, 0, 0, 500_000, -5 * SECOND_US, -60 * SECOND_US, -61 * SECOND_US, -600 * SECOND_US,
                              90 * SECOND_US, 86_400 * SECOND_US])

    # -- properties, as raw members --

    def key(self, name):
        """Sometimes with its first character escaped."""
        return quote(name) if self.chance(0.95) else f'"\\u{ord(name[0]):04x}{quote(name)[1:-1][len(quote(name[0])) - 2:]}"'

    def object(self, values=VALUES, most=3):
        pairs = [f"{self.key(self.pick(NAMES))}:{self.pick(values)}" for _ in range(self.random.randint(0, most))]
        return "{" + ",".join(pairs) + "}"

    def big_object(self):
        pairs = [f'{quote(self.pick(NAMES + [f"big{i}" for i in range(8)]))}:"{"y" * self.random.randint(1, 300_000)}"'
                 for _ in range(self.random.randint(1, 3))]
        return "{" + ",".join(pairs) + "}"

    def person_members(self):
        if self.chance(0.35):
            yield "$set", self.big_object() if self.big and self.chance(0.5) else self.object()
        if self.chance(0.25):
            yield "$set_once", self.object()
        if self.chance(0.12):
            yield "$unset", self.pick([f"[{quote(self.pick(NAMES))},{quote(self.pick(NAMES))}]", self.object(), '"a"', "[1]"])
        if self.chance(0.02):
            yield "$set", self.pick(["null", '"x"', "[]", "{}"])
        for name in self.random.sample(AUTOMATIC, self.pick([0, 0, 1, 3])):
            yield name, self.pick(VALUES)
        if self.chance(0.2):
            yield self.pick(["$os_name", "$os_name", "$os", "utm_source", "utm_name"]), self.pick(['"A"', '"B"', "null", "null"])
        if self.chance(0.15):
            yield "$is_server", self.pick(["true", "true", "false", '"true"', "null"])
        if self.chance(0.3):
            yield "$lib", self.pick([*map(quote, LIBS), "null", "1"])
        if self.chance(0.15):
            yield self.pick(["$geoip_latitude", "$geoip_country_name"]), self.pick(VALUES)

    def merge_members(self, event):
        other = quote(self.distinct_id())
        if self.chance(0.04):
            other = self.pick(["null", "17", "true", "{}", '""', quote("w" * 300), quote("w" * 401),
                               '"a\\u0000b"'])
        if event == "$identify" and self.chance(0.8):
            yield "$anon_distinct_id", other
        if event in ("$create_alias", "$merge_dangerously") and self.chance(0.95):
            yield "alias", other
        elif event == "$identify" and self.chance(0.03):
            yield "alias", self.pick(["null", "17", '"x"'])

    def session_members(self):
        if self.chance(0.2):
            yield "$window_id", self.pick(['"w"', '""', '" "', "7", "null"])
        if self.chance(0.75):
            yield "$session_id", self.pick([f'"{self.pick(self.sessions)}"'] * 8 +
                                           [f'"{str(self.pick(self.sessions)).upper()}"', '""', "null",
                                            f'"{self.pick(self.sessions).hex}"', '"x"', "17", '"  "', '"0190c8e2-7a5d-4f00-8a1b-3c5d7e9f0a1b"'])
        if self.chance(0.6):
            url = self.pick(URLS + [f"https://a.example/{self.random.randint(0, 500)}"])
            if self.long_urls:
                url = f"https://a.example/{self.random.randint(0, 60)}/" + self.pick(["é", "x"]) * self.random.choice(
                    [500, 1000, 1013, 2028, 2029, 3000])
            yield "$current_url", f'"{url}"'
        for name, values in (("utm_source", SOURCES), ("utm_medium", MEDIUMS), ("utm_campaign", CAMPAIGNS),
                             ("$referring_domain", REFERRERS), ("gclid", ["x", ""]), ("fbclid", ["x", "null"]),
                             ("gad_source", ["1", "5"]), ("_kx", ["k"]), ("irclid", ["i"])):
            if self.chance(0.15):
                yield name, quote(self.pick(values))
        if self.chance(0.05):
            yield "utm_term", self.pick(["54.10", "true", "null", "[]", '"\\u00e9"', quote("\u20ac" * 400), '"a\\u0000b"'])
        if self.chance(0.1):
            yield "$external_click_url", quote(self.pick(["https://out.example/1", "https://out.example/2", ""]))
        if self.chance(0.1):
            yield "$web_vitals_LCP_value", self.pick(["1200.5", '"900"', "1e400", '"fast"', "null", '"12e1"', "3"])

    def group_members(self, event):
        if self.chance(0.15):
            types = self.random.sample(GROUP_TYPES, self.random.randint(1, 2))
            keys = [self.pick(['"acme"', '"umbrella"', "7", "null", '""', "true", "false", "{}", quote("k" * 401)]) for _ in types]
            yield "$groups", "{" + ",".join(f"{quote(t)}:{k}" for t, k in zip(types, keys)) + "}"
        if event == "$groupidentify":
            yield "$group_type", self.pick([quote(self.pick(GROUP_TYPES[:2] * 5 + GROUP_TYPES))] * 9 + ["3", "null", "0"])
            yield "$group_key", self.pick(['"acme"'] * 6 + ['"umbrella"', "7", "null", '""', "true", "false", "0.0", "[]",
                                                            quote("k" * 401)])
            if self.chance(0.8):
                yield "$group_set", (self.big_object() if self.big and self.chance(0.5) else
                                     self.pick([self.object(), self.object(), self.object(), "null", "[]", '"x"']))

    def properties(self, event):
        found = [*self.person_members(), *self.merge_members(event), *self.session_members(), *self.group_members(event)]
        if self.chance(self.personless):
            found.append(("$process_person_profile", self.pick(["false"] * 8 + ["true", '"false"', "null"])))
        self.random.shuffle(found)
        if found and self.chance(0.05):
            found.append((self.pick(found)[0], self.pick(VALUES)))
        return "{" + ",".join(f"{self.key(name)}:{value}" for name, value in found) + "}"

    # -- commands --

    def lines(self):
        for _ in range(self.commands):
            project = self.pick(self.projects)
            if self.chance(self.deletes):
                person_id = person_id_of(project, self.pick(self.ids))
                yield write_delete(project, person_id, self.chance(0.5), self.tick())
                continue
            event = self.random.choices(list(EVENTS), EVENTS.values())[0]
            inserted_at = self.tick()
            yield write_event(project, event, self.distinct_id(), self.timestamp(), inserted_at, self.properties(event),
                              self.event_uuid())


def histories(seed, seeds=1, commands=200, big=False):
    """The lines of several histories, one behind the other, each in projects of its own."""
    now = START_US
    for one in range(seed, seed + seeds):
        projects = [2 * one + 1, 2 * one + 2] if one % 3 == 0 else [2 * one + 1]
        generator = Generator(one, projects, commands, big, now)
        yield from generator.lines()
        now = generator.now + SECOND_US
