/* A chunked body (RFC 9112, 7.1), byte by byte and to the letter: every line ends in CRLF, every
 * chunk too. Extensions and trailers are read over, up to the length of a head in all. */
#include <string.h>

#include "net/http_priv.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(char c)
{
    return ((unsigned char)c >= ' ' && c != 0x7F) || c == '\t';
}

static bool size_byte(struct exchange *x, char c)
{
    int digit = hex_digit(c);

    if (digit >= 0) {
        if (x->chunk_left > UINT64_MAX >> 4 || ++x->chunk_digits > 32)
            return false;
        x->chunk_left = x->chunk_left << 4 | (uint64_t)digit;
        return true;
    }
    if (x->chunk_digits == 0)
        return false;
    x->chunk_state = c == '\r' ? CHUNK_SIZE_LF : c == ';' ? CHUNK_EXTENSION : CHUNK_BLANK;
    return c == '\r' || c == ';' || c == ' ' || c == '\t';
}

/* Lines that are read over: until their CR. */
static bool over_byte(struct exchange *x, char c, enum chunk_state after, size_t max)
{
    if (c == '\r') {
        x->chunk_state = after;
        return true;
    }
    return is_text(c) && ++x->chunk_over <= max;
}

static bool expect_byte(struct exchange *x, char c, char want, enum chunk_state then)
{
    x->chunk_state = then;
    return c == want;
}

static bool framing_byte(struct exchange *x, char c, size_t max)
{
    switch (x->chunk_state) {
    case CHUNK_SIZE:
        return size_byte(x, c);
    case CHUNK_BLANK: /* blanks may stand before an extension, not at the end */
        if (c == ';')
            x->chunk_state = CHUNK_EXTENSION;
        return c == ';' || ((c == ' ' || c == '\t') && ++x->chunk_over <= max);
    case CHUNK_EXTENSION:
        return over_byte(x, c, CHUNK_SIZE_LF, max);
    case CHUNK_SIZE_LF:
        return expect_byte(x, c, '\n', x->chunk_left == 0 ? CHUNK_TRAILER : CHUNK_DATA);
    case CHUNK_DATA_CR:
        return expect_byte(x, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        x->chunk_digits = 0;
        return expect_byte(x, c, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER: /* the first byte of a line */
        if (c == '\r')
            return expect_byte(x, c, '\r', CHUNK_END_LF);
        x->chunk_state = CHUNK_TRAILER_LINE;
        return c != ' ' && c != '\t' && is_text(c) && ++x->chunk_over <= max;
    case CHUNK_TRAILER_LINE:
        return over_byte(x, c, CHUNK_TRAILER_LF, max);
    case CHUNK_TRAILER_LF:
        return expect_byte(x, c, '\n', CHUNK_TRAILER);
    case CHUNK_END_LF:
        x->body_done = c == '\n';
        return x->body_done;
    case CHUNK_DATA:
        break;
    }
    return false;
}

static void take(struct exchange *x, const char *at, size_t n)
{
    if (x->dropping || x->too_large) {
        x->conn->dropped += n;
    } else if (n > x->limit - x->body_n) {
        x->too_large = true;
    } else {
        memcpy(x->body + x->body_n, at, n); /* room was made for all of the input before */
        x->body_n += n;
    }
}

bool http_parse_chunks(struct exchange *x)
{
    size_t max = x->conn->loop->server->o.max_header_bytes;

    while (x->pos < x->n && !x->body_done) {
        if (x->chunk_state == CHUNK_DATA) {
            size_t here = x->n - x->pos;
            size_t n = here < x->chunk_left ? here : (size_t)x->chunk_left;

            take(x, x->in + x->pos, n);
            x->pos += n;
            x->chunk_left -= n;
            if (x->chunk_left == 0)
                x->chunk_state = CHUNK_DATA_CR;
        } else if (!framing_byte(x, x->in[x->pos++], max)) {
            return false;
        }
    }
    if (!x->body_done)
        x->pos = x->n = x->head_end; /* all of it was taken: the room is free again */
    return true;
}
