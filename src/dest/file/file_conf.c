#include <stdio.h>
#include <string.h>

#include "dest/file/file_priv.h"

const struct tr_option file_options[] = {
    { .name = "path",
      .type = TR_OPT_TEXT,
      .required = true,
      .min = 1,
      .max = FILE_PATH_MAX,
      .doc = "Folder on the server's machine, as an absolute path; made when absent" },
    { .name = "file_format",
      .type = TR_OPT_CHOICE,
      .fallback = "JSONLines",
      .choices = "JSONLines",
      .doc = "JSONLines: one JSON object a line" },
    { .name = "compression",
      .type = TR_OPT_CHOICE,
      .fallback = "none",
      .choices = TR_COMPRESSION_CHOICES,
      .doc = "Compression of each file" },
    { .name = "marker",
      .type = TR_OPT_TEXT,
      .max = FILE_MARKER_MAX,
      .doc = "Name of a file in path; while it is not there (no disk is mounted), nothing is "
             "written" },
    { .name = NULL },
};

bool file_clean_path(const char *path, char out[FILE_PATH_MAX + 1])
{
    size_t n = 0;

    if (path[0] != '/' || strlen(path) > FILE_PATH_MAX)
        return false;
    struct tr_str rest = tr_str_of(path);
    while (rest.p != NULL) {
        struct tr_str part = tr_str_cut(rest, '/', &rest);
        if (part.n == 0 || tr_str_is(part, "."))
            continue;
        if (tr_str_is(part, ".."))
            return false;
        out[n++] = '/';
        memcpy(out + n, part.p, part.n);
        n += part.n;
    }
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return true;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool is_name(const char *text)
{
    return strchr(text, '/') == NULL && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 &&
           !has_control(text);
}

enum tr_rc file_check_options(const struct tr_conf *c, struct tr_err *err)
{
    const char *marker = tr_conf_text(c, "marker");
    const char *path = tr_conf_text(c, "path");
    char clean[FILE_PATH_MAX + 1];

    if (has_control(path))
        return tr_fail(err, TR_INVALID, "file.option", NULL, "path holds a control character");
    if (path[0] != '/')
        return tr_fail(err, TR_INVALID, "file.option", "give it from the root: /srv/exports",
                       "path must be absolute");
    if (!file_clean_path(path, clean))
        return tr_fail(err, TR_INVALID, "file.option", "give the folder's own path",
                       "path must not hold \"..\"");
    if (marker != NULL && !is_name(marker))
        return tr_fail(err, TR_INVALID, "file.option", "give a name alone, as .mounted",
                       "marker must be the name of a file that lies in path itself");
    return TR_OK;
}

enum tr_rc file_validate(const struct tr_conf *c, struct tr_err *err)
{
    char clean[FILE_PATH_MAX + 1];
    enum tr_rc rc = file_check_options(c, err);

    if (rc == TR_OK && file_clean_path(tr_conf_text(c, "path"), clean))
        rc = file_check_outside(clean, err);
    return rc;
}

void file_target(const struct tr_conf *c, struct tr_buf *out)
{
    char clean[FILE_PATH_MAX + 1];

    if (!file_clean_path(tr_conf_text(c, "path"), clean))
        (void)snprintf(clean, sizeof(clean), "%s", tr_conf_text(c, "path"));
    tr_buf_z(out, "file://");
    tr_buf_z(out, clean);
    tr_buf_ch(out, '/');
    tr_buf_z(out, tr_conf_text(c, "file_format"));
}
