#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "identity/url.h"

static const struct {
    const char *url, *host, *path; /* NULL: none */
} cases[] = {
    { "https://shop.example.com/products/wheel?a=1#top", "shop.example.com", "/products/wheel" },
    { "https://shop.example.com/", "shop.example.com", "/" },
    { "https://shop.example.com", "shop.example.com", NULL },
    { "https://shop.example.com?next=/a/b", "shop.example.com", NULL },
    { "https://shop.example.com#/a/b", "shop.example.com", NULL },
    { "https://shop.example.com/a#b?c", "shop.example.com", "/a" },
    { "http://user:secret@example.com:8080/a", "example.com", "/a" },
    { "http://a@b@example.com/", "example.com", "/" },
    { "svn+ssh://some.host.org:80/repo/trunk", "some.host.org", "/repo/trunk" },
    { "some.host.org:80/repo/trunk", "some.host.org", "/repo/trunk" },
    { "//cdn.example.com/x.js", "cdn.example.com", "/x.js" },
    { "example.com", "example.com", NULL },
    { "/settings/profile", NULL, "/settings/profile" },
    { "http://localhost:3000/x", NULL, "/x" },
    { "http://.example.com/", NULL, "/" },
    { "http://example.com./", NULL, "/" },
    { "http://127.0.0.1:8000/x", "127.0.0.1", "/x" },
    { "http://[::1]/x", NULL, "/x" },
    { "http://exa mple.com/x", NULL, "/x" },
    { "https://\xc3\xa9t\xc3\xa9.example/\xc3\xa9", "\xc3\xa9t\xc3\xa9.example", "/\xc3\xa9" },
    { "file:///home/me", NULL, "/home/me" },
    { "myapp://screens.home/main", "screens.home", "/main" },
    { "about:blank", NULL, NULL },
    { "://x.y/z", NULL, "//x.y/z" },
    { "a.b", "a.b", NULL },
    { "..", NULL, NULL },
    { "", NULL, NULL },
    { "?", NULL, NULL },
    { "https://", NULL, NULL },
};

static void assert_part(struct tr_str got, const char *want)
{
    if (want == NULL)
        assert_null(got.p);
    else
        assert_true(tr_str_is(got, want));
}

static void parts_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_str url = tr_str_of(cases[i].url);
        char *exact = malloc(url.n == 0 ? 1 : url.n);
        size_t n = url.n;

        print_message("  case %zu\n", i);
        assert_non_null(exact);
        memcpy(exact, url.p, n);
        assert_part(tr_url_host((struct tr_str){ exact, n }), cases[i].host);
        assert_part(tr_url_path((struct tr_str){ exact, n }), cases[i].path);
        free(exact);
    }
    assert_null(tr_url_host((struct tr_str){ NULL, 0 }).p);
    assert_null(tr_url_path((struct tr_str){ NULL, 0 }).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parts_are_found) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
