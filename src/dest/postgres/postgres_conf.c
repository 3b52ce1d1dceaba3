#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "dest/postgres/postgres_priv.h"

/* What is to have no effect: libpq would look into the home folder without it. */
#define NO_FILE "/nonexistent/tailrace"
/* Debian's and its kin's bundle of public certificate authorities. */
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

const struct tr_option pg_options[] = {
    { .name = "user",
      .type = TR_OPT_TEXT,
      .required = true,
      .min = 1,
      .max = PG_NAME_BYTES,
      .doc = "User that may create tables in the schema" },
    { .name = "password",
      .type = TR_OPT_TEXT,
      .required = true,
      .secret = true,
      .max = 1024,
      .doc = "Password of that user" },
    { .name = "host",
      .type = TR_OPT_TEXT,
      .shows = true,
      .required = true,
      .min = 1,
      .max = 255,
      .doc = "Host name or address of the server, or the folder of its Unix socket" },
    { .name = "port",
      .type = TR_OPT_INT,
      .shows = true,
      .fallback = "5432",
      .min = 1,
      .max = 65535,
      .doc = "TCP port of the server" },
    { .name = "database",
      .type = TR_OPT_TEXT,
      .required = true,
      .min = 1,
      .max = PG_NAME_BYTES,
      .doc = "Database that holds the table" },
    { .name = "schema",
      .type = TR_OPT_TEXT,
      .fallback = "public",
      .min = 1,
      .max = PG_NAME_BYTES,
      .doc = "Schema that holds the table; it must exist" },
    { .name = "table_name",
      .type = TR_OPT_TEXT,
      .of_model = true,
      .fallback = "events",
      .min = 1,
      .max = PG_NAME_BYTES,
      .doc = "Table to write to, by default named as the model; created when there is none" },
    { .name = "has_self_signed_cert",
      .type = TR_OPT_BOOL,
      .shows = true,
      .fallback = "false",
      .doc = "The server's certificate is self-signed: encrypt without checking who it is" },
    { .name = "sslmode",
      .type = TR_OPT_CHOICE,
      .shows = true,
      .settled = true,
      .fallback = "require",
      .choices = "disable|require|verify-ca|verify-full",
      .doc = "Encryption, and how far the server's certificate is checked" },
    { .name = "ssl_root_cert",
      .type = TR_OPT_TEXT,
      .shows = true,
      .max = 65536,
      .doc = "Certificate authority for verify-ca and verify-full, as PEM text; the system's if "
             "empty" },
    { .name = "allow_plaintext",
      .type = TR_OPT_BOOL,
      .shows = true,
      .fallback = "false",
      .doc = "Allow sslmode disable to a server that is not on this machine" },
    { .name = "connections",
      .type = TR_OPT_INT,
      .fallback = "1",
      .min = 1,
      .max = 16,
      .doc = "Chunks of one run that are sent at once" },
    { .name = "connect_timeout_s",
      .type = TR_OPT_INT,
      .fallback = "30",
      .min = 1,
      .max = 300,
      .doc = "Seconds to wait for a connection" },
    { .name = NULL },
};

static bool is_socket_dir(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}

/* This machine: a Unix socket, or an address or name of the loopback interface. */
static bool is_local(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (is_socket_dir(host) || tr_str_eq_nocase(tr_str_of(host), TR_STR("localhost")))
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return false;
}

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

enum tr_rc pg_conf_validate(const struct tr_conf *c, struct tr_err *err)
{
    static const char *const names[] = { "user", "host", "database", "schema", "table_name" };
    const char *host = tr_conf_text(c, "host");
    const char *sslmode = tr_conf_text(c, "sslmode");
    bool verifies = strncmp(sslmode, "verify", 6) == 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (has_control(tr_conf_text(c, names[i])))
            return tr_fail(err, TR_INVALID, "postgres.option", NULL, "%s holds a control character",
                           names[i]);
    if (strpbrk(host, ", \t") != NULL)
        return tr_fail(err, TR_INVALID, "postgres.option", "give one host",
                       "host holds a comma or a blank");
    if (strcmp(tr_conf_text(c, "table_name"), PG_LEDGER) == 0)
        return tr_fail(err, TR_INVALID, "postgres.option", "choose another table_name",
                       "table_name \"" PG_LEDGER "\" is the name of the ledger");
    if (strcmp(sslmode, "disable") == 0 && !is_local(host) && !tr_conf_bool(c, "allow_plaintext"))
        return tr_fail(err, TR_INVALID, "postgres.plaintext",
                       "use sslmode require, or set allow_plaintext when the network is trusted",
                       "sslmode disable would send password and events in the clear to %s", host);
    if (strcmp(sslmode, "require") != 0 && tr_conf_bool(c, "has_self_signed_cert"))
        return tr_fail(err, TR_INVALID, "postgres.option",
                       "use sslmode require; or verify-ca, with the certificate as ssl_root_cert",
                       "has_self_signed_cert does not go with sslmode %s", sslmode);
    if (verifies && is_socket_dir(host))
        return tr_fail(err, TR_INVALID, "postgres.option", "use sslmode disable",
                       "a Unix socket has no certificate to check (sslmode %s)", sslmode);
    if (is_set(tr_conf_text(c, "ssl_root_cert"))) {
        if (!verifies)
            return tr_fail(err, TR_INVALID, "postgres.option", "use sslmode verify-full",
                           "ssl_root_cert has no effect with sslmode %s", sslmode);
        if (strstr(tr_conf_text(c, "ssl_root_cert"), "-----BEGIN CERTIFICATE-----") == NULL)
            return tr_fail(err, TR_INVALID, "postgres.option",
                           "paste the text of the file, from BEGIN CERTIFICATE on",
                           "ssl_root_cert is no PEM certificate");
    }
    return TR_OK;
}

static bool says_true(const json_t *v)
{
    return json_is_true(v) || (json_is_string(v) && strcmp(json_string_value(v), "true") == 0);
}

void pg_conf_settle(json_t *config)
{
    const char *host = json_string_value(json_object_get(config, "host"));
    const json_t *given = json_object_get(config, "sslmode");
    bool unchecked =
        says_true(json_object_get(config, "has_self_signed_cert")) ||
        (host != NULL && is_local(host) && json_object_get(config, "ssl_root_cert") == NULL);

    if (given == NULL || json_is_null(given))
        (void)json_object_set_new(config, "sslmode",
                                  json_string(unchecked ? "require" : "verify-full"));
}

void pg_conf_target(const struct tr_conf *c, struct tr_buf *out)
{
    const char *host = tr_conf_text(c, "host");

    tr_buf_z(out, "postgres://");
    for (const char *p = host; *p != '\0'; p++)
        tr_buf_ch(out, is_socket_dir(host) ? *p : (char)tolower((unsigned char)*p));
    tr_buf_printf(out, ":%lld/%s/%s/%s", (long long)tr_conf_int(c, "port"),
                  tr_conf_text(c, "database"), tr_conf_text(c, "schema"),
                  tr_conf_text(c, "table_name"));
}

static void add(struct pg_params *p, const char *key, const char *value)
{
    p->key[p->n] = key;
    p->value[p->n] = value;
    p->n++;
    p->key[p->n] = NULL;
    p->value[p->n] = NULL;
}

/* Every file libpq would look for by itself is named, so that only the options decide. */
static void add_tls(struct pg_params *p, const struct tr_conf *c, int ca_fd, char *scratch,
                    size_t cap)
{
    const char *sslmode = tr_conf_text(c, "sslmode");
    const char *root = NO_FILE;

    if (strncmp(sslmode, "verify", 6) == 0) {
        (void)snprintf(scratch, cap, "/proc/self/fd/%d", ca_fd);
        root = ca_fd >= 0 ? scratch : SYSTEM_CA;
    }
    add(p, "sslmode", is_socket_dir(tr_conf_text(c, "host")) ? "disable" : sslmode);
    add(p, "sslrootcert", root);
    add(p, "sslcert", NO_FILE);
    add(p, "sslkey", NO_FILE);
    add(p, "sslcrl", NO_FILE);
    add(p, "gssencmode", "disable");
}

void pg_conf_params(const struct tr_conf *c, int ca_fd, struct pg_params *ret)
{
    enum { PORT_BYTES = 8 };

    ret->n = 0;
    (void)snprintf(ret->scratch, PORT_BYTES, "%lld", (long long)tr_conf_int(c, "port"));
    add(ret, "host", tr_conf_text(c, "host"));
    add(ret, "port", ret->scratch);
    add(ret, "user", tr_conf_text(c, "user"));
    add(ret, "password", tr_conf_text(c, "password"));
    add(ret, "passfile", NO_FILE);
    add(ret, "dbname", tr_conf_text(c, "database"));
    add_tls(ret, c, ca_fd, ret->scratch + PORT_BYTES, sizeof(ret->scratch) - PORT_BYTES);
    add(ret, "application_name", "tailrace");
    add(ret, "client_encoding", "UTF8");
    /* A peer that has vanished is noticed within a minute, on a silent connection and a busy one.
     */
    add(ret, "keepalives", "1");
    add(ret, "keepalives_idle", "20");
    add(ret, "keepalives_interval", "10");
    add(ret, "keepalives_count", "3");
    add(ret, "tcp_user_timeout", "45000");
}

/* A socket leads to this machine, as its loopback addresses do. */
static enum tr_rc check_socket(struct tr_err *err)
{
    const struct tr_url here = { .tls = true, .host = "localhost" };
    struct sockaddr_in loopback = { .sin_family = AF_INET };

    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const char *why =
        tr_egress_refusal(&here, (const struct sockaddr *)(const void *)&loopback, false);
    return why == NULL ? TR_OK
                       : tr_fail(err, TR_REFUSED, "http.egress",
                                 "the operator of this server decides: see --egress",
                                 "no connection is made to a Unix socket: %s", why);
}

enum tr_rc pg_conf_resolve(const struct tr_conf *c, struct pg_params *p, struct tr_err *err)
{
    const char *host = tr_conf_text(c, "host");
    /* Encryption has an option and a check of its own: allow_plaintext. */
    struct tr_url url = { .tls = true, .port = (uint16_t)tr_conf_int(c, "port") };
    struct tr_addresses at;
    size_t hosts = 0;
    size_t addresses = 0;

    if (is_socket_dir(host))
        return check_socket(err);
    if (strlen(host) >= sizeof(url.host))
        return tr_fail(err, TR_INVALID, "postgres.option", NULL, "host has more than %zu bytes",
                       sizeof(url.host) - 1);
    for (size_t i = 0; host[i] != '\0'; i++)
        url.host[i] = (char)tolower((unsigned char)host[i]);
    if (tr_egress_resolve(&url, &at, err) != TR_OK)
        return err == NULL ? TR_REFUSED : err->rc;
    for (size_t i = 0; i < at.n; i++) {
        hosts += (size_t)snprintf(p->hosts + hosts, sizeof(p->hosts) - hosts, "%s%s",
                                  i == 0 ? "" : ",", host);
        addresses += (size_t)snprintf(p->addresses + addresses, sizeof(p->addresses) - addresses,
                                      "%s%s", i == 0 ? "" : ",", at.text[i]);
    }
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->key[i], "host") == 0)
            p->value[i] = p->hosts;
    add(p, "hostaddr", p->addresses);
    return TR_OK;
}
