/* Parts of an address as a browser or an app sends it, found as ClickHouse's path() and domain()
 * find them. Views into the address; p == NULL: there is no such part.
 */
#ifndef TR_IDENTITY_URL_H
#define TR_IDENTITY_URL_H

#include "base/str.h"

/* "/products/wheel" of "https://shop.example.com/products/wheel?a=1#top": from the first slash
 * behind the host up to '?' or '#'. */
struct tr_str tr_url_path(struct tr_str url);

/* "shop.example.com" of "https://me@shop.example.com:443/products", also without the scheme. No
 * user, no port. A host has a dot inside: "localhost" is none. */
struct tr_str tr_url_host(struct tr_str url);

#endif
