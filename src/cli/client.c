/* One call of the API. */
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_priv.h"
#include "net/http_policy.h"
#include "os/file.h"

enum { MAX_ANSWER = 64 << 20, TIMEOUT_S = 3600 };

static size_t receive(char *p, size_t size, size_t n, void *arg)
{
    struct tr_buf *b = arg;

    tr_buf_add(b, p, size * n);
    return b->failed ? 0 : size * n;
}

/* The server's address as curl reads it, not as it looks. */
static enum tr_rc read_server(const struct cli *c, char *url, size_t cap, struct tr_url *ret,
                              struct tr_err *err)
{
    size_t n = strlen(c->server);

    while (n > 0 && c->server[n - 1] == '/')
        n--;
    if (snprintf(url, cap, "%s%.*s", strstr(c->server, "://") == NULL ? "http://" : "", (int)n,
                 c->server) >= (int)cap)
        return tr_fail(err, TR_INVALID, "cli.server", NULL, "the address is too long");
    return tr_url_parse(url, ret, err);
}

/* On this machine: the owner's token in a folder here is for no other server, and nothing said to
 * this one goes through a proxy. curl takes localhost for loopback without asking anybody. */
static bool is_local(const struct tr_url *server)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (strcmp(server->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, server->host, &v4.sin_addr) == 1)
        return tr_address_of((const struct sockaddr *)(const void *)&v4) == TR_ADDRESS_LOOPBACK;
    if (inet_pton(AF_INET6, server->host, &v6.sin6_addr) == 1)
        return tr_address_of((const struct sockaddr *)(const void *)&v6) == TR_ADDRESS_LOOPBACK;
    return false;
}

/* The token given, or the owner's where the server's data folder is at hand. */
static bool find_token(const struct cli *c, bool local, char *out, size_t cap)
{
    const char *folder = getenv("TAILRACE_DATA");
    char path[4096];
    struct tr_buf b;
    struct tr_err err = { 0 };

    if (c->token != NULL)
        return snprintf(out, cap, "%s", c->token) < (int)cap;
    if (!local)
        return false;
    (void)snprintf(path, sizeof(path), "%s/owner-token",
                   folder == NULL || folder[0] == '\0' ? "tailrace-data" : folder);
    tr_buf_init(&b, 1024);
    bool found = tr_file_read(path, &b, &err) == TR_OK;
    struct tr_str token = tr_str_trim(tr_buf_view(&b));
    if (found)
        found = snprintf(out, cap, "%.*s", TR_STR_ARGS(token)) < (int)cap;
    tr_buf_fini(&b);
    return found && out[0] != '\0';
}

static void print_text(const char *label, const json_t *j)
{
    if (json_is_string(j) && json_string_length(j) > 0)
        (void)fprintf(stderr, "%s%s\n", label, json_string_value(j));
}

/* What the server said against it. */
static int refused(const struct cli *c, long status, const json_t *answer)
{
    const json_t *detail = json_object_get(answer, "detail");
    const json_t *attr = json_object_get(answer, "attr");

    if (!json_is_string(detail)) {
        (void)fprintf(stderr, "error: %s answered %ld, and not as this API does\n", c->server,
                      status);
        return CLI_REFUSED;
    }
    /* Most texts begin with the field already. */
    if (json_is_string(attr) &&
        strncmp(json_string_value(detail), json_string_value(attr), json_string_length(attr)) != 0)
        (void)fprintf(stderr, "error: %s: %s\n", json_string_value(attr),
                      json_string_value(detail));
    else
        print_text("error: ", detail);
    print_text("hint: ", json_object_get(answer, "hint"));
    if (status == 401 && c->token == NULL)
        (void)fprintf(stderr, "hint: give --token, or set TAILRACE_TOKEN\n");
    return CLI_REFUSED;
}

static CURLcode perform(CURL *curl, const struct cli *c, const char *method, const char *path,
                        const char *body, struct tr_buf *out, long *ret_status)
{
    char server[4096];
    char url[8192];
    char token[512] = "";
    char header[600];
    struct curl_slist *headers = NULL;
    struct tr_url where;

    if (read_server(c, server, sizeof(server), &where, NULL) != TR_OK)
        return CURLE_URL_MALFORMAT;
    bool local = is_local(&where);
    (void)snprintf(url, sizeof(url), "%s%s", server, path);
    if (find_token(c, local, token, sizeof(token))) {
        (void)snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
        headers = curl_slist_append(headers, header);
    }
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (local)
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (body != NULL)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "tailrace/" TR_VERSION);
    CURLcode rc = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    curl_slist_free_all(headers);
    explicit_bzero(token, sizeof(token));
    explicit_bzero(header, sizeof(header));
    return rc;
}

int cli_call(const struct cli *c, const char *method, const char *path, const json_t *body,
             json_t **ret_answer)
{
    CURL *curl = curl_easy_init();
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    struct tr_buf out;
    long status = 0;
    json_t *answer = NULL;
    int result = CLI_OK;

    *ret_answer = NULL;
    tr_buf_init(&out, MAX_ANSWER);
    CURLcode rc =
        curl == NULL ? CURLE_OUT_OF_MEMORY : perform(curl, c, method, path, text, &out, &status);
    if (rc != CURLE_OK) {
        (void)fprintf(stderr, "error: %s: %s\n", c->server, curl_easy_strerror(rc));
        if (rc == CURLE_COULDNT_CONNECT)
            (void)fprintf(stderr, "hint: is `tailrace serve` running there? "
                                  "--server or TAILRACE_SERVER say where it is\n");
        if (rc == CURLE_URL_MALFORMAT)
            (void)fprintf(stderr, "hint: write it as http://HOST:PORT, without a user name\n");
        result = CLI_REFUSED;
    } else {
        answer = out.n == 0 ? NULL : json_loadb(out.p, out.n, 0, NULL);
        if (status < 200 || status > 299 || (out.n > 0 && answer == NULL)) {
            result = refused(c, status, answer);
            json_decref(answer);
            answer = NULL;
        }
    }
    *ret_answer = answer;
    tr_buf_fini(&out);
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
    curl_easy_cleanup(curl);
    return result;
}

static void add_encoded(struct tr_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char ch = (unsigned char)*text;
        if (isalnum(ch) || ch == '-' || ch == '_' || ch == '.' || ch == '~')
            tr_buf_ch(out, *text);
        else
            tr_buf_printf(out, "%%%02X", ch);
    }
}

void cli_add_query(struct tr_buf *path, const char *key, const char *value)
{
    tr_buf_ch(path, path->n > 0 && memchr(path->p, '?', path->n) != NULL ? '&' : '?');
    add_encoded(path, key);
    tr_buf_ch(path, '=');
    add_encoded(path, value);
}

bool cli_export_path(const struct cli *c, const char *id, const char *rest, struct tr_buf *out)
{
    tr_buf_init(out, 8192);
    tr_buf_z(out, "/api/projects/");
    add_encoded(out, c->project);
    tr_buf_z(out, "/batch_exports/");
    if (id != NULL) {
        add_encoded(out, id);
        tr_buf_ch(out, '/');
    }
    tr_buf_z(out, rest);
    return !out->failed;
}

int cli_export_call(const struct cli *c, const char *method, const char *id, const char *rest,
                    const json_t *body, json_t **ret_answer)
{
    struct tr_buf path;

    *ret_answer = NULL;
    if (id != NULL && id[0] == '\0') {
        (void)fprintf(stderr, "error: an empty text is no id\n");
        return CLI_USAGE;
    }
    if (!cli_export_path(c, id, rest, &path)) {
        tr_buf_fini(&path);
        return CLI_REFUSED;
    }
    tr_buf_ch(&path, '\0');
    int status = cli_call(c, method, path.p, body, ret_answer);
    tr_buf_fini(&path);
    return status;
}

int cli_export_post(const struct cli *c, const char *id, const char *rest, json_t *body,
                    json_t **ret_answer)
{
    int status = cli_export_call(c, "POST", id, rest, body, ret_answer);

    json_decref(body);
    return status;
}
