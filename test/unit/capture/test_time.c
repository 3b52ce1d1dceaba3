/* The rules that lead from a client's time to an event's. */
#include "request.h"

static const struct {
    const char *name;
    const char *query;
    const char *body; /* %s of the envelope */
    const char *want;
} cases[] = {
#define EVENT(fields) "{\"event\":\"a\",\"distinct_id\":\"u\"," fields "}"
#define BATCH(envelope, fields)                                                                    \
    "{\"api_key\":\"phc_one\"," envelope "\"batch\":[" EVENT(fields) "]}"
#define SINGLE(fields) EVENT("\"token\":\"phc_one\"," fields)
    { "a timestamp alone is taken as it is", "",
      BATCH("", "\"timestamp\":\"2024-02-29T23:30:00.123456789+05:30\""),
      "2024-02-29T18:00:00.123456Z" },
    { "no timestamp: now", "", BATCH("", "\"x\":1"), "2026-11-21T09:30:00.000000Z" },
    { "a null timestamp: now", "", BATCH("", "\"timestamp\":null"), "2026-11-21T09:30:00.000000Z" },
    { "an empty timestamp: now", "", BATCH("", "\"timestamp\":\"\""),
      "2026-11-21T09:30:00.000000Z" },
    { "a word for a timestamp: now", "", BATCH("", "\"timestamp\":\"yesterday\""),
      "2026-11-21T09:30:00.000000Z" },
    { "a timestamp that is an object: now", "", BATCH("", "\"timestamp\":{}"),
      "2026-11-21T09:30:00.000000Z" },
    { "a number of seconds", "", BATCH("", "\"timestamp\":1709249400"),
      "2024-02-29T23:30:00.000000Z" },
    { "a number of milliseconds", "", BATCH("", "\"timestamp\":1709249400123"),
      "2024-02-29T23:30:00.123000Z" },
    { "an escaped timestamp", "", BATCH("", "\"timestamp\":\"2024\\u002d02-29\""),
      "2024-02-29T00:00:00.000000Z" },
    { "a clock that is an hour ahead", "",
      BATCH("\"sent_at\":\"2026-11-21T10:30:00Z\",", "\"timestamp\":\"2026-11-21T10:29:50Z\""),
      "2026-11-21T09:29:50.000000Z" },
    { "a clock that is behind by years", "",
      BATCH("\"sent_at\":\"1970-01-01T00:00:10Z\",", "\"timestamp\":\"1970-01-01T00:00:00Z\""),
      "2026-11-21T09:29:50.000000Z" },
    { "sent_at with nanoseconds and a zone", "",
      BATCH("\"sent_at\":\"2026-11-21T11:30:01.000000999+02:00\",",
            "\"timestamp\":\"2026-11-21T09:00:01Z\""),
      "2026-11-21T09:00:00.000000Z" },
    { "sentAt of posthog-python 3.0", "",
      BATCH("\"sentAt\":\"2026-11-21T10:30:00Z\",", "\"timestamp\":\"2026-11-21T10:29:50Z\""),
      "2026-11-21T09:29:50.000000Z" },
    { "a sent_at that is none changes nothing", "",
      BATCH("\"sent_at\":\"soon\",", "\"timestamp\":\"2026-11-21T08:00:00Z\""),
      "2026-11-21T08:00:00.000000Z" },
    { "$ignore_sent_at switches the correction off", "",
      BATCH("\"sent_at\":\"2026-11-21T10:30:00Z\",",
            "\"timestamp\":\"2026-11-21T08:00:00Z\",\"properties\":{\"$ignore_sent_at\":true}"),
      "2026-11-21T08:00:00.000000Z" },
    { "$ignore_sent_at: false does not", "",
      BATCH("\"sent_at\":\"2026-11-21T10:30:00Z\",",
            "\"timestamp\":\"2026-11-21T08:00:00Z\",\"properties\":{\"$ignore_sent_at\":false}"),
      "2026-11-21T07:00:00.000000Z" },
    { "sent_at from the query, milliseconds", "sent_at=1795257000000",
      BATCH("", "\"timestamp\":\"2026-11-21T10:29:50Z\""), "2026-11-21T09:29:50.000000Z" },
    { "_ of browser SDKs", "ip=1&_=1795257000000&ver=1.96.1",
      SINGLE("\"timestamp\":\"2026-11-21T10:29:50Z\""), "2026-11-21T09:29:50.000000Z" },
    { "the envelope's sent_at goes before the query's", "_=1795260600000",
      BATCH("\"sent_at\":\"2026-11-21T10:30:00Z\",", "\"timestamp\":\"2026-11-21T10:29:50Z\""),
      "2026-11-21T09:29:50.000000Z" },
    { "a query's sent_at of 2020 is not believed", "_=1600000000000",
      SINGLE("\"timestamp\":\"2026-11-21T08:00:00Z\""), "2026-11-21T08:00:00.000000Z" },
    { "a query's sent_at that is text is not believed", "sent_at=2026-11-21T10:30:00Z",
      SINGLE("\"timestamp\":\"2026-11-21T08:00:00Z\""), "2026-11-21T08:00:00.000000Z" },
    { "sent_at inside a single event is ignored", "",
      SINGLE("\"sent_at\":\"2026-11-21T10:30:00Z\",\"timestamp\":\"2026-11-21T08:00:00Z\""),
      "2026-11-21T08:00:00.000000Z" },
    { "sent_at inside an event of a batch is ignored", "",
      BATCH("", "\"sent_at\":\"2026-11-21T10:30:00Z\",\"timestamp\":\"2026-11-21T08:00:00Z\""),
      "2026-11-21T08:00:00.000000Z" },
    { "an offset is the age in milliseconds", "", BATCH("", "\"offset\":1500"),
      "2026-11-21T09:29:58.500000Z" },
    { "an offset overrides timestamp and sent_at", "",
      BATCH("\"sent_at\":\"2026-11-21T10:30:00Z\",",
            "\"timestamp\":\"2024-01-01T00:00:00Z\",\"offset\":0"),
      "2026-11-21T09:30:00.000000Z" },
    { "an offset that is no number is ignored", "",
      BATCH("", "\"offset\":\"5\",\"timestamp\":\"2024-01-01T00:00:00Z\""),
      "2024-01-01T00:00:00.000000Z" },
    { "an offset beyond all time is ignored", "", BATCH("", "\"offset\":1e300"),
      "2026-11-21T09:30:00.000000Z" },
    { "23 hours ahead are kept", "", BATCH("", "\"timestamp\":\"2026-11-22T08:30:00Z\""),
      "2026-11-22T08:30:00.000000Z" },
    { "more than 23 hours ahead become now", "",
      BATCH("", "\"timestamp\":\"2026-11-22T08:30:00.000001Z\""), "2026-11-21T09:30:00.000000Z" },
    { "a negative offset of two days becomes now", "", BATCH("", "\"offset\":-172800000"),
      "2026-11-21T09:30:00.000000Z" },
    { "the end of time becomes now", "", BATCH("", "\"timestamp\":\"9999-12-31T23:59:59-23:00\""),
      "2026-11-21T09:30:00.000000Z" },
    { "the year 0 becomes the epoch", "", BATCH("", "\"timestamp\":\"0000-06-01T00:00:00Z\""),
      "1970-01-01T00:00:00.000000Z" },
    { "a correction beyond the year 1 becomes the epoch", "",
      BATCH("\"sent_at\":\"9999-01-01T00:00:00Z\",", "\"timestamp\":\"0002-01-01T00:00:00Z\""),
      "1970-01-01T00:00:00.000000Z" },
    { "an age of 10,000 years becomes the epoch", "", BATCH("", "\"offset\":99000000000000"),
      "1970-01-01T00:00:00.000000Z" },
    { "the year 1 is kept", "", BATCH("", "\"timestamp\":\"0001-01-01T00:00:00Z\""),
      "0001-01-01T00:00:00.000000Z" },
};

static void corrects_and_bounds_times(void **state)
{
    struct request q;

    (void)state;
    request_init(&q);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TR_TIME_TEXT];

        print_message("  %s\n", cases[i].name);
        q.in.query = tr_str_of(cases[i].query);
        (void)request_send(&q, cases[i].body);
        struct tr_event e = request_event(&q, 0);
        tr_time_format(e.timestamp, text);
        assert_string_equal(text, cases[i].want);
        assert_int_equal(e.inserted_at, 0);
    }
    request_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corrects_and_bounds_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
