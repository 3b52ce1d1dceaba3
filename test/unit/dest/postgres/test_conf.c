#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netdb.h>

#include <cmocka.h>

#include "dest/postgres/postgres_priv.h"

#define BASE "\"user\":\"u\",\"password\":\"p-secret\",\"database\":\"db\""
#define PEM  "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n"

static struct tr_conf *parse(const char *json)
{
    struct tr_conf *c = NULL;
    struct tr_err err = { 0 };
    json_t *o = json_loads(json, 0, NULL);

    assert_non_null(o);
    if (tr_conf_parse(pg_options, o, &c, &err) != TR_OK)
        fail_msg("%s", err.cause);
    json_decref(o);
    return c;
}

static void combinations_are_taken_or_refused(void **state)
{
    static const struct {
        const char *name, *json;
        const char *id, *cause; /* NULL: taken */
    } cases[] = {
        { "the least", "{" BASE ",\"host\":\"db.example.com\"}", NULL, NULL },
        { "self-signed", "{" BASE ",\"host\":\"h\",\"has_self_signed_cert\":true}", NULL, NULL },
        { "self-signed and checked",
          "{" BASE ",\"host\":\"h\",\"has_self_signed_cert\":true,\"sslmode\":\"verify-full\"}",
          "postgres.option", "has_self_signed_cert does not go with sslmode verify-full" },
        { "plain text to this machine, v4",
          "{" BASE ",\"host\":\"127.0.0.5\",\"sslmode\":\"disable\"}", NULL, NULL },
        { "plain text to this machine, v6", "{" BASE ",\"host\":\"::1\",\"sslmode\":\"disable\"}",
          NULL, NULL },
        { "plain text to this machine, by name",
          "{" BASE ",\"host\":\"LocalHost\",\"sslmode\":\"disable\"}", NULL, NULL },
        { "a Unix socket", "{" BASE ",\"host\":\"/run/postgresql\",\"sslmode\":\"disable\"}", NULL,
          NULL },
        { "plain text to elsewhere", "{" BASE ",\"host\":\"10.0.0.5\",\"sslmode\":\"disable\"}",
          "postgres.plaintext", "in the clear to 10.0.0.5" },
        { "a name that only looks like this machine",
          "{" BASE ",\"host\":\"127.0.0.1.example.com\",\"sslmode\":\"disable\"}",
          "postgres.plaintext", "in the clear" },
        { "plain text to elsewhere, on purpose",
          "{" BASE ",\"host\":\"10.0.0.5\",\"sslmode\":\"disable\",\"allow_plaintext\":true}", NULL,
          NULL },
        { "two hosts", "{" BASE ",\"host\":\"a,b\"}", "postgres.option", "comma" },
        { "a certificate that is not used",
          "{" BASE ",\"host\":\"h\",\"ssl_root_cert\":\"" PEM "\"}", "postgres.option",
          "no effect" },
        { "a certificate that is none",
          "{" BASE ",\"host\":\"h\",\"sslmode\":\"verify-ca\",\"ssl_root_cert\":\"/etc/ca.pem\"}",
          "postgres.option", "no PEM certificate" },
        { "an authority of one's own",
          "{" BASE ",\"host\":\"h\",\"sslmode\":\"verify-ca\",\"ssl_root_cert\":\"" PEM "\"}", NULL,
          NULL },
        { "checking a socket", "{" BASE ",\"host\":\"/tmp\",\"sslmode\":\"verify-full\"}",
          "postgres.option", "Unix socket" },
        { "the ledger's name", "{" BASE ",\"host\":\"h\",\"table_name\":\"tailrace_ledger\"}",
          "postgres.option", "name of the ledger" },
        { "a line break in a name", "{" BASE ",\"host\":\"h\",\"schema\":\"a\\nb\"}",
          "postgres.option", "schema holds a control character" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_conf *c = parse(cases[i].json);
        struct tr_err err = { 0 };
        enum tr_rc rc = pg_conf_validate(c, &err);

        print_message("# %s\n", cases[i].name);
        if (cases[i].id == NULL) {
            assert_int_equal(rc, TR_OK);
        } else {
            assert_int_equal(rc, TR_INVALID);
            assert_string_equal(err.id, cases[i].id);
            if (strstr(err.cause, cases[i].cause) == NULL)
                fail_msg("cause: %s", err.cause);
        }
        tr_conf_free(c);
    }
}

static void a_new_export_checks_who_the_server_is(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        { "{\"host\":\"db.example.com\"}", "verify-full" },
        { "{\"host\":\"db.example.com\",\"sslmode\":null}", "verify-full" },
        { "{\"host\":\"db.example.com\",\"has_self_signed_cert\":false}", "verify-full" },
        { "{\"host\":\"db.example.com\",\"has_self_signed_cert\":true}", "require" },
        { "{\"host\":\"db.example.com\",\"has_self_signed_cert\":\"true\"}", "require" },
        { "{\"host\":\"127.0.0.1\"}", "require" },
        { "{\"host\":\"/run/postgresql\"}", "require" },
        { "{\"host\":\"localhost\",\"ssl_root_cert\":\"pem\"}", "verify-full" },
        { "{\"host\":\"db.example.com\",\"sslmode\":\"require\"}", "require" },
        { "{\"host\":\"127.0.0.1\",\"sslmode\":\"verify-ca\"}", "verify-ca" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *config = json_loads(cases[i].json, 0, NULL);

        assert_non_null(config);
        pg_conf_settle(config);
        assert_string_equal(json_string_value(json_object_get(config, "sslmode")), cases[i].want);
        json_decref(config);
    }
}

/* Exports of 0.1.0 keep what their stored configuration meant. */
static void a_stored_configuration_without_sslmode_means_require(void **state)
{
    struct tr_conf *c = parse("{" BASE ",\"host\":\"db.example.com\"}");

    (void)state;
    assert_string_equal(tr_conf_text(c, "sslmode"), "require");
    tr_conf_free(c);
}

static void one_place_has_one_target(void **state)
{
    static const struct {
        const char *json, *want;
    } cases[] = {
        { "{" BASE ",\"host\":\"DB.Example.com\"}",
          "postgres://db.example.com:5432/db/public/events" },
        { "{" BASE ",\"host\":\"h\",\"port\":\"6543\",\"schema\":\"Mine\",\"table_name\":\"T\"}",
          "postgres://h:6543/db/Mine/T" },
        { "{" BASE ",\"host\":\"/Run/PG\",\"sslmode\":\"disable\"}",
          "postgres:///Run/PG:5432/db/public/events" },
        { "{" BASE ",\"host\":\"h\",\"has_self_signed_cert\":true,\"connections\":4}",
          "postgres://h:5432/db/public/events" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_conf *c = parse(cases[i].json);
        struct tr_buf text;

        tr_buf_init(&text, 1024);
        pg_conf_target(c, &text);
        tr_buf_ch(&text, '\0');
        assert_string_equal(text.p, cases[i].want);
        tr_buf_fini(&text);
        tr_conf_free(c);
    }
}

static const char *value_of(const struct pg_params *p, const char *key)
{
    const char *found = NULL;

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->key[i], key) == 0) {
            assert_null(found); /* once each */
            found = p->value[i];
        }
    assert_null(p->key[p->n]);
    return found;
}

static void libpq_is_told_everything_it_would_look_up(void **state)
{
    struct tr_conf *c = parse("{" BASE ",\"host\":\"h\"}");
    struct pg_params p;

    (void)state;
    pg_conf_params(c, -1, &p);
    assert_string_equal(value_of(&p, "host"), "h");
    assert_string_equal(value_of(&p, "port"), "5432");
    assert_string_equal(value_of(&p, "sslmode"), "require");
    assert_string_equal(value_of(&p, "client_encoding"), "UTF8");
    /* a file in the home folder would turn require into verify-ca, or add a client's certificate */
    assert_string_equal(value_of(&p, "sslrootcert"), "/nonexistent/tailrace");
    assert_string_equal(value_of(&p, "sslcert"), "/nonexistent/tailrace");
    assert_string_equal(value_of(&p, "passfile"), "/nonexistent/tailrace");
    tr_conf_free(c);

    c = parse("{" BASE ",\"host\":\"h\",\"sslmode\":\"verify-full\",\"ssl_root_cert\":\"" PEM
              "\"}");
    pg_conf_params(c, 77, &p);
    assert_string_equal(value_of(&p, "sslmode"), "verify-full");
    assert_string_equal(value_of(&p, "sslrootcert"), "/proc/self/fd/77");
    tr_conf_free(c);

    c = parse("{" BASE ",\"host\":\"/run/postgresql\"}");
    pg_conf_params(c, -1, &p);
    assert_string_equal(value_of(&p, "sslmode"), "disable");
    tr_conf_free(c);
}

/* What the names of the test lead to; nothing is asked outside, nothing is connected to. */
static int resolve(const char *host, const char *port, const struct addrinfo *hints,
                   struct addrinfo **ret)
{
    struct addrinfo numeric = *hints;
    const char *lead[2] = { "192.0.2.7", NULL };
    struct addrinfo **at = ret;

    if (strcmp(host, "metadata.example") == 0)
        lead[0] = "169.254.169.254";
    else if (strcmp(host, "mixed.example") == 0)
        lead[0] = "169.254.0.9", lead[1] = "198.51.100.3";
    else if (strcmp(host, "private.example") == 0)
        lead[0] = "10.1.2.3";
    else if (strcmp(host, "none.example") == 0)
        return EAI_NONAME;
    numeric.ai_flags = AI_NUMERICHOST;
    for (size_t i = 0; i < 2 && lead[i] != NULL; i++) {
        assert_int_equal(getaddrinfo(lead[i], port, &numeric, at), 0);
        at = &(*at)->ai_next;
    }
    return 0;
}

static const struct egress_case {
    const char *host;
    bool public_only;
    enum tr_rc want;
    const char *hosts, *addresses;
} egress_cases[] = {
    { "db.example", true, TR_OK, "db.example", "192.0.2.7" },
    { "metadata.example", false, TR_REFUSED, NULL, NULL },
    { "mixed.example", false, TR_OK, "mixed.example", "198.51.100.3" },
    { "private.example", false, TR_OK, "private.example", "10.1.2.3" },
    { "private.example", true, TR_REFUSED, NULL, NULL },
    { "none.example", false, TR_TRANSIENT, NULL, NULL },
    { "/run/postgresql", true, TR_REFUSED, NULL, NULL },
};

static void the_operator_decides_where_connections_go(void **state)
{
    (void)state;
    tr_egress_set_resolver(resolve, freeaddrinfo);
    for (size_t i = 0; i < sizeof(egress_cases) / sizeof(egress_cases[0]); i++) {
        const struct egress_case *e = &egress_cases[i];
        struct tr_err err = { 0 };
        struct pg_params p;
        char text[512];

        print_message("# %s\n", e->host);
        assert_int_equal(tr_egress_set(e->public_only, NULL, &err), TR_OK);
        (void)snprintf(text, sizeof(text), "{" BASE ",\"host\":\"%s\"}", e->host);
        struct tr_conf *c = parse(text);
        pg_conf_params(c, -1, &p);
        assert_int_equal(pg_conf_resolve(c, &p, &err), e->want);
        if (e->want == TR_OK) {
            assert_string_equal(value_of(&p, "host"), e->hosts);
            assert_string_equal(value_of(&p, "hostaddr"), e->addresses);
        } else if (e->want == TR_REFUSED) {
            assert_string_equal(err.id, "http.egress");
        }
        tr_conf_free(c);
    }
    tr_egress_set_resolver(NULL, NULL);
}

static void the_secret_option_is_the_password(void **state)
{
    (void)state;
    for (size_t i = 0; pg_options[i].name != NULL; i++) {
        assert_non_null(pg_options[i].doc);
        assert_int_equal(pg_options[i].secret, strcmp(pg_options[i].name, "password") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(combinations_are_taken_or_refused),
        cmocka_unit_test(a_new_export_checks_who_the_server_is),
        cmocka_unit_test(a_stored_configuration_without_sslmode_means_require),
        cmocka_unit_test(one_place_has_one_target),
        cmocka_unit_test(libpq_is_told_everything_it_would_look_up),
        cmocka_unit_test(the_operator_decides_where_connections_go),
        cmocka_unit_test(the_secret_option_is_the_password),
    };

    return cmocka_run_group_tests_name("postgres conf", tests, NULL, NULL);
}
