/* A key file by its name: "@PATH" in a configuration stands for the file's text. */
#include <string.h>

#include "auth/google_key.h"
#include "cli/cli_priv.h"
#include "os/file.h"

/* NULL with the reason in err. The text is never in it: it is a secret. */
static json_t *text_of_file(const char *path, struct tr_err *err)
{
    struct tr_buf text;
    json_t *j = NULL;

    tr_buf_init(&text, TR_GOOGLE_KEY_FILE_MAX);
    if (path[0] == '\0')
        (void)tr_fail(err, TR_INVALID, "cli.key_file", "write @ and the path of the key file",
                      "'@' names no file");
    else if (tr_file_read(path, &text, err) == TR_OK) {
        j = json_stringn(text.p == NULL ? "" : text.p, text.n);
        if (j == NULL || text.n == 0 || memchr(text.p, '\0', text.n) != NULL) {
            json_decref(j);
            j = NULL;
            (void)tr_fail(err, TR_INVALID, "cli.key_file",
                          "give the JSON file that Google made with the key", "%s: %s", path,
                          text.n == 0 ? "it is empty" : "it is no text in UTF-8");
        }
    }
    if (text.n > 0)
        explicit_bzero(text.p, text.n);
    tr_buf_fini(&text);
    return j;
}

bool cli_read_key_file(json_t *body)
{
    json_t *config = json_object_get(json_object_get(body, "destination"), "config");
    const char *name = json_string_value(json_object_get(config, "key_file"));
    struct tr_err err = { 0 };

    if (name == NULL || name[0] != '@')
        return true;
    json_t *text = text_of_file(name + 1, &err);
    if (text == NULL) {
        (void)cli_fail("key_file", &err);
        return false;
    }
    (void)json_object_set_new(config, "key_file", text);
    return true;
}
