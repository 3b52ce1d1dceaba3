#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/channel.h"
/* The lists are part of what is tested. */
#include "identity/channel_priv.h"

static const struct {
    const char *name;
    const char *source, *medium, *campaign, *referrer, *gclid, *fbclid, *gad_source;
    const char *want;
} cases[] = {
    { "nothing is known", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "Unknown" },
    { "typed by hand", NULL, NULL, NULL, "$direct", NULL, NULL, NULL, "Direct" },
    { "source says direct", "(direct)", NULL, NULL, "$direct", NULL, NULL, NULL, "Direct" },
    { "a site that is not listed", NULL, NULL, NULL, "blog.example.com", NULL, NULL, NULL,
      "Referral" },
    { "the word null is nothing", "null", "NULL", "null", "null", "null", "null", "null",
      "Unknown" },

    /* paid */
    { "a click id", NULL, NULL, NULL, "www.google.com", "x", NULL, NULL, "Paid Search" },
    { "the medium is paid, the source decides", "facebook", "cpc", NULL, "$direct", NULL, NULL,
      NULL, "Paid Social" },
    { "upper case", "FaceBook", "CPC", NULL, "$direct", NULL, NULL, NULL, "Paid Social" },
    { "source before campaign", "google", "ppc", "shopping spree", NULL, NULL, NULL, NULL,
      "Paid Search" },
    { "campaign before medium", "unlisted", "paidsocial", "eshop", NULL, NULL, NULL, NULL,
      "Paid Shopping" },
    { "medium before referrer", "unlisted", "paid_social", NULL, "google.com", NULL, NULL, NULL,
      "Paid Social" },
    { "referrer before gad_source", NULL, NULL, NULL, "youtube.com", NULL, NULL, "1",
      "Paid Video" },
    { "gad_source 1 is search", NULL, NULL, NULL, "$direct", NULL, NULL, "1", "Paid Search" },
    { "gad_source 5 is not", NULL, NULL, "spring video", "$direct", NULL, NULL, "5", "Paid Video" },
    { "a paid click of facebook", NULL, "paid", NULL, "$direct", NULL, "x", NULL, "Paid Social" },
    { "paid, by whom?", "unlisted", "cpc", NULL, "$direct", NULL, NULL, NULL, "Paid Unknown" },
    { "mail cannot be bought", "mailchimp", "cpc", NULL, "$direct", NULL, NULL, NULL,
      "Paid Unknown" },
    { "bought by the thousand is display", "unlisted", "cpm", NULL, "$direct", NULL, NULL, NULL,
      "Display" },
    { "retargeting is paid", "unlisted", "retargeting", NULL, "$direct", NULL, NULL, NULL,
      "Paid Unknown" },
    { "across networks goes first", "google", "cpc", "Summer Cross-Network 1", NULL, "x", NULL, "1",
      "Cross Network" },

    /* organic */
    { "a search engine", NULL, NULL, NULL, "www.google.de", NULL, NULL, NULL, "Organic Search" },
    { "its British end", NULL, NULL, NULL, "google.co.uk", NULL, NULL, NULL, "Organic Search" },
    { "an end that is none", NULL, NULL, NULL, "google.example.co.uk", NULL, NULL, NULL,
      "Referral" },
    { "a name that only ends alike", NULL, NULL, NULL, "notgoogle.com", NULL, NULL, NULL,
      "Referral" },
    { "a network, below its domain", NULL, NULL, NULL, "l.facebook.com", NULL, NULL, NULL,
      "Organic Social" },
    { "the nearest domain counts", NULL, NULL, NULL, "mail.google.com", NULL, NULL, NULL, "Email" },
    { "a source that is a domain", "m.facebook.com", NULL, NULL, NULL, NULL, NULL, NULL,
      "Organic Social" },
    { "a source before the referrer", "newsletter", NULL, NULL, "www.google.com", NULL, NULL, NULL,
      "Email" },
    { "a campaign before the medium", NULL, "email", "the shop opens", NULL, NULL, NULL, NULL,
      "Organic Shopping" },
    { "a workshop is no shop", NULL, "email", "workshop", NULL, NULL, NULL, NULL, "Email" },
    { "but workshopping is shopping", NULL, "email", "workshopping", NULL, NULL, NULL, NULL,
      "Organic Shopping" },
    { "a medium before the referrer", NULL, "social", NULL, "www.google.com", NULL, NULL, NULL,
      "Organic Social" },
    { "a medium of its own", NULL, "affiliate", NULL, "$direct", NULL, NULL, NULL, "Affiliate" },
    { "a text message", NULL, "SMS", NULL, "$direct", NULL, NULL, NULL, "SMS" },
    { "a podcast", "spotify", NULL, NULL, "$direct", NULL, NULL, NULL, "Audio" },
    { "a campaign of videos", NULL, "unlisted", "video week", "blog.example.com", NULL, NULL, NULL,
      "Organic Video" },
    { "some push", NULL, "ios-push", NULL, "$direct", NULL, NULL, NULL, "Push" },
    { "a shared link of facebook", NULL, NULL, NULL, "$direct", NULL, "x", NULL, "Organic Social" },
    { "a medium forbids direct at first", NULL, "unlisted", NULL, "$direct", NULL, NULL, NULL,
      "Direct" },
    { "so does a source", "unlisted", NULL, NULL, NULL, NULL, NULL, NULL, "Unknown" },
    { "a shop", NULL, NULL, NULL, "www.amazon.co.jp", NULL, NULL, NULL, "Organic Shopping" },
    { "an app", NULL, NULL, NULL, "com.google.android.gm", NULL, NULL, NULL, "Email" },
    { "dots alone", "..", NULL, NULL, "...", NULL, NULL, NULL, "Referral" },
};

static void channels_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_channel c = {
            .source = tr_str_of(cases[i].source),
            .medium = tr_str_of(cases[i].medium),
            .campaign = tr_str_of(cases[i].campaign),
            .referring_domain = tr_str_of(cases[i].referrer),
            .gclid = tr_str_of(cases[i].gclid),
            .fbclid = tr_str_of(cases[i].fbclid),
            .gad_source = tr_str_of(cases[i].gad_source),
        };

        print_message("  %s\n", cases[i].name);
        assert_string_equal(tr_channel_type(&c), cases[i].want);
    }
}

static void check_list(const struct channel_name *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (const char *p = list[i].name; *p != '\0'; p++)
            assert_false(*p >= 'A' && *p <= 'Z');
        if (i > 0 && strcmp(list[i - 1].name, list[i].name) >= 0)
            fail_msg("%s before %s", list[i - 1].name, list[i].name);
    }
}

static void lists_are_sorted_and_in_lower_case(void **state)
{
    (void)state;
    check_list(channel_sources, channel_sources_n);
    check_list(channel_mediums, channel_mediums_n);
}

static void every_listed_domain_is_found_below_www(void **state)
{
    (void)state;
    for (size_t i = 0; i < channel_sources_n; i++) {
        char domain[100] = "www.";
        size_t n = strlen(channel_sources[i].name);

        if (strchr(channel_sources[i].name, '.') == NULL)
            continue;
        memcpy(domain + 4, channel_sources[i].name, n + 1);
        if (domain[3 + n] == '*')
            strcpy(domain + 3 + n, "se");
        struct tr_channel c = { .referring_domain = tr_str_of(domain) };
        struct tr_channel plain = { .source = tr_str_of(domain + 4) };
        assert_string_not_equal(tr_channel_type(&c), "Referral");
        assert_string_equal(tr_channel_type(&c), tr_channel_type(&plain));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_are_told),
        cmocka_unit_test(lists_are_sorted_and_in_lower_case),
        cmocka_unit_test(every_listed_domain_is_found_below_www),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
