#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/http_policy.h"

static const struct url_case {
    const char *name, *url;
    enum tr_rc want;
    bool tls;
    const char *host;
    int port;
} urls[] = {
    { "https has its port", "https://Example.COM/a?b", TR_OK, true, "example.com", 443 },
    { "http has its port", "http://example.com", TR_OK, false, "example.com", 80 },
    { "a port may be named", "https://example.com:8443/x", TR_OK, true, "example.com", 8443 },
    { "brackets come off", "http://[::1]:9000/", TR_OK, false, "::1", 9000 },
    { "a final dot comes off", "https://example.com./", TR_OK, true, "example.com", 443 },
    { "files are no hosts", "file:///etc/passwd", TR_INVALID, false, NULL, 0 },
    { "gopher is too old", "gopher://example.com/", TR_INVALID, false, NULL, 0 },
    { "a user name hides the host", "https://example.com@evil.example/", TR_INVALID, false, NULL,
      0 },
    { "no host at all", "https://", TR_INVALID, false, NULL, 0 },
    { "no scheme", "example.com/x", TR_INVALID, false, NULL, 0 },
    { "nothing", "", TR_INVALID, false, NULL, 0 },
};

static void reads_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        const struct url_case *c = &urls[i];
        struct tr_err err = { 0 };
        struct tr_url u;

        print_message("#  %s\n", c->name);
        assert_int_equal(tr_url_parse(c->url, &u, &err), c->want);
        if (c->want != TR_OK)
            continue;
        assert_int_equal(u.tls, c->tls);
        assert_string_equal(u.host, c->host);
        assert_int_equal(u.port, c->port);
    }
}

static union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

static const struct sockaddr *at(const char *text)
{
    memset(&address, 0, sizeof(address));
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1)
        address.v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1)
        address.v6.sin6_family = AF_INET6;
    else
        fail_msg("%s is no address", text);
    return &address.any;
}

static void knows_addresses(void **state)
{
    static const struct {
        const char *text;
        enum tr_address want;
    } cases[] = {
        { "8.8.8.8", TR_ADDRESS_PUBLIC },
        { "172.32.0.1", TR_ADDRESS_PUBLIC },
        { "2607:f8b0:4004:800::200a", TR_ADDRESS_PUBLIC },
        { "10.1.2.3", TR_ADDRESS_PRIVATE },
        { "172.16.0.1", TR_ADDRESS_PRIVATE },
        { "172.31.255.255", TR_ADDRESS_PRIVATE },
        { "192.168.0.1", TR_ADDRESS_PRIVATE },
        { "100.64.0.1", TR_ADDRESS_PRIVATE },
        { "fd12:3456::1", TR_ADDRESS_PRIVATE },
        { "::ffff:10.1.2.3", TR_ADDRESS_PRIVATE },
        { "2002:0a01:0203::1", TR_ADDRESS_PRIVATE },
        { "127.0.0.1", TR_ADDRESS_LOOPBACK },
        { "0.0.0.0", TR_ADDRESS_LOOPBACK },
        { "::", TR_ADDRESS_LOOPBACK },
        { "::1", TR_ADDRESS_LOOPBACK },
        { "::ffff:127.0.0.1", TR_ADDRESS_LOOPBACK },
        { "169.254.169.254", TR_ADDRESS_METADATA },
        { "169.254.0.1", TR_ADDRESS_METADATA },
        { "::ffff:169.254.169.254", TR_ADDRESS_METADATA },
        { "64:ff9b::a9fe:a9fe", TR_ADDRESS_METADATA },
        { "2002:a9fe:a9fe::1", TR_ADDRESS_METADATA },
        { "100.100.100.200", TR_ADDRESS_METADATA },
        { "168.63.129.16", TR_ADDRESS_METADATA },
        { "fe80::1", TR_ADDRESS_METADATA },
        { "fd00:ec2::254", TR_ADDRESS_METADATA },
        { "fd20:ce::254", TR_ADDRESS_METADATA },
        { "224.0.0.1", TR_ADDRESS_OTHER },
        { "255.255.255.255", TR_ADDRESS_OTHER },
        { "ff02::1", TR_ADDRESS_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("#  %s\n", cases[i].text);
        assert_int_equal(tr_address_of(at(cases[i].text)), cases[i].want);
    }
}

static bool lets(const char *url, const char *address_text, bool metadata)
{
    struct tr_err err = { 0 };
    struct tr_url u;

    assert_int_equal(tr_url_parse(url, &u, &err), TR_OK);
    return tr_egress_refusal(&u, at(address_text), metadata) == NULL;
}

static void set(bool public_only, const char *hosts)
{
    struct tr_err err = { 0 };

    assert_int_equal(tr_egress_set(public_only, hosts, &err), TR_OK);
}

static void decides_by_the_address(void **state)
{
    (void)state;
    set(false, "");
    assert_true(lets("https://db.example", "8.8.8.8", false));
    assert_true(lets("https://db.example", "10.0.0.1", false));
    assert_true(lets("https://db.example", "127.0.0.1", false));
    assert_true(lets("http://db.example", "127.0.0.1", false));
    assert_false(lets("http://db.example", "10.0.0.1", false)); /* in the clear */
    assert_false(lets("https://db.example", "169.254.169.254", false));
    assert_false(lets("https://db.example", "224.0.0.1", false));
    set(true, NULL);
    assert_true(lets("https://db.example", "8.8.8.8", false));
    assert_false(lets("https://db.example", "10.0.0.1", false));
    assert_false(lets("https://db.example", "::ffff:10.0.0.1", false));
    assert_false(lets("http://db.example", "127.0.0.1", false));
    set(true, "db.example:80, [::1]:9000,other.example");
    assert_true(lets("http://db.example", "10.0.0.1", false));
    assert_false(lets("http://db.example:81", "10.0.0.1", false));
    assert_true(lets("http://[::1]:9000", "::1", false));
    assert_true(lets("https://OTHER.example:7", "127.0.0.1", false));
    assert_false(lets("https://other.example", "169.254.169.254", false)); /* whatever is said */
    set(false, NULL);
}

static void hosts_of_iam_are_a_list_of_their_own(void **state)
{
    struct tr_err err = { 0 };
    struct tr_url any, iam;

    (void)state;
    set(true, "any.example");
    assert_int_equal(tr_egress_set_iam("iam.example:80", &err), TR_OK);
    assert_int_equal(tr_url_parse("http://any.example", &any, &err), TR_OK);
    assert_int_equal(tr_url_parse("http://iam.example", &iam, &err), TR_OK);
    assert_true(tr_egress_is_named(&any));
    assert_false(tr_egress_is_iam(&any));
    assert_true(tr_egress_is_iam(&iam));
    assert_false(tr_egress_is_named(&iam));
    assert_true(lets("http://iam.example", "10.0.0.1", false));
    assert_false(lets("http://iam.example:81", "10.0.0.1", false));
    assert_int_equal(tr_egress_set_iam("a:b", &err), TR_INVALID);
    assert_true(tr_egress_is_iam(&iam));
    assert_int_equal(tr_egress_set_iam("", &err), TR_OK);
    assert_false(tr_egress_is_iam(&iam));
    set(false, NULL);
}

static void only_the_metadata_call_reaches_the_metadata_server(void **state)
{
    (void)state;
    set(true, NULL);
    assert_true(lets("http://metadata.google.internal", "169.254.169.254", true));
    assert_false(lets("http://metadata.google.internal", "8.8.8.8", true));
    assert_false(lets("http://metadata.google.internal", "127.0.0.1", true));
    set(false, NULL);
}

static void refuses_lists_that_cannot_be_read(void **state)
{
    static const char *const bad[] = { "a:b", "a:0",       "a:70000", "[::1",  ",",
                                       "a,",  "https://a", ":80",     "[::1]x" };
    struct tr_err err = { 0 };
    struct tr_url u;

    (void)state;
    set(false, "kept.example");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        print_message("#  %s\n", bad[i]);
        assert_int_equal(tr_egress_set(false, bad[i], &err), TR_INVALID);
    }
    assert_int_equal(tr_url_parse("https://kept.example", &u, &err), TR_OK);
    assert_true(tr_egress_is_named(&u));
    set(false, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(knows_addresses),
        cmocka_unit_test(decides_by_the_address),
        cmocka_unit_test(hosts_of_iam_are_a_list_of_their_own),
        cmocka_unit_test(only_the_metadata_call_reaches_the_metadata_server),
        cmocka_unit_test(refuses_lists_that_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
