/* LZ-string, as very old browser SDKs send it ("compression=lz64").
 *
 * A stream of codes whose width grows with the dictionary, packed into base64 digits from the
 * highest bit down; a code's own bits come lowest first. Codes 0 and 1 are followed by a new
 * character of 8 or 16 bits, 2 ends the text, the others name a word. After each code the word
 * before, longer by the first character of this one, is a new word: those characters stand next to
 * each other in the text, so that a word is just a place and a length in it.
 */
#include "base/utf8.h"
#include "capture/capture_priv.h"

struct bits {
    struct tr_str in;
    size_t at;
    unsigned left; /* of the digit */
    unsigned digit;
    bool ended;
};

static unsigned take_bits(struct bits *b, unsigned n)
{
    unsigned value = 0;

    for (unsigned i = 0; i < n; i++) {
        if (b->left == 0) {
            int digit = b->at < b->in.n ? tr_base64_value(b->in.p[b->at++]) : -1;
            if (digit < 0) {
                b->ended = true;
                return 0;
            }
            b->digit = (unsigned)digit;
            b->left = 6;
        }
        b->left--;
        value |= (b->digit >> b->left & 1) << i;
    }
    return value;
}

struct word {
    uint32_t at, n;
};

/* The text so far (UTF-16) and the words; words[0..2] stand for the codes that are none. */
struct lz {
    struct tr_capture_scratch *s;
    struct tr_buf *units, *words;
    size_t n_units, n_words;
    unsigned width; /* bits of a code */
    size_t grow_in; /* words until a code needs one bit more */
};

static enum tr_rc add_word(struct lz *z, struct word w, struct tr_err *err)
{
    if (tr_scratch_reserve(z->s, z->words, sizeof(w), err) != TR_OK)
        return err->rc;
    memcpy(z->words->p + z->words->n, &w, sizeof(w));
    z->words->n += sizeof(w);
    z->n_words++;
    return TR_OK;
}

static void count_word(struct lz *z)
{
    if (--z->grow_in == 0) {
        z->grow_in = (size_t)1 << z->width;
        z->width++;
    }
}

static enum tr_rc add_unit(struct lz *z, unsigned unit, struct tr_err *err)
{
    uint16_t u = (uint16_t)unit;

    if (tr_scratch_reserve(z->s, z->units, sizeof(u), err) != TR_OK)
        return err->rc;
    memcpy(z->units->p + z->units->n, &u, sizeof(u));
    z->units->n += sizeof(u);
    z->n_units++;
    return TR_OK;
}

static unsigned unit_at(const struct lz *z, size_t i)
{
    uint16_t u;

    memcpy(&u, z->units->p + i * sizeof(u), sizeof(u));
    return u;
}

/* A word may reach into the very units it makes: copied one by one. */
static enum tr_rc add_text(struct lz *z, struct word w, struct tr_err *err)
{
    for (size_t i = 0; i < w.n; i++)
        if (add_unit(z, unit_at(z, w.at + i), err) != TR_OK)
            return err->rc;
    return TR_OK;
}

static enum tr_rc damaged(struct tr_err *err)
{
    return tr_fail(err, TR_INVALID, "capture.bad_lz64", NULL,
                   "the lz64 data is damaged or cut short");
}

static enum tr_rc decode_units(struct lz *z, struct bits *in, struct tr_err *err)
{
    struct word last = { 0, 0 };

    for (size_t i = 0; i < 3; i++)
        if (add_word(z, last, err) != TR_OK)
            return err->rc;

    for (bool first = true;; first = false) {
        unsigned code = take_bits(in, z->width);
        struct word now = { (uint32_t)z->n_units, 1 };

        if (in->ended || z->width > 30)
            return damaged(err);
        if (code == 2)
            return TR_OK;
        bool literal = code < 2;
        if (!first) {
            /* The new word gets its number after a literal has got its own. */
            struct word grown = { last.at, last.n + 1 };
            if (literal) {
                if (add_word(z, now, err) != TR_OK)
                    return err->rc;
                count_word(z);
            }
            if (add_word(z, grown, err) != TR_OK)
                return err->rc;
        } else if (!literal || add_word(z, now, err) != TR_OK) {
            return literal ? err->rc : damaged(err);
        }

        if (literal) {
            unsigned unit = take_bits(in, code == 0 ? 8 : 16);
            if (in->ended)
                return damaged(err);
            if (add_unit(z, unit, err) != TR_OK)
                return err->rc;
        } else {
            if (code >= z->n_words)
                return damaged(err);
            memcpy(&now, z->words->p + code * sizeof(now), sizeof(now));
            uint32_t at = (uint32_t)z->n_units;
            if (add_text(z, now, err) != TR_OK)
                return err->rc;
            now.at = at;
        }
        last = now;
        if (first)
            z->width = 3;
        else
            count_word(z);
    }
}

static enum tr_rc to_utf8(struct lz *z, struct tr_buf *out, struct tr_err *err)
{
    for (size_t i = 0; i < z->n_units; i++) {
        unsigned c = unit_at(z, i);

        if (c >= 0xD800 && c <= 0xDFFF) {
            unsigned low = i + 1 < z->n_units ? unit_at(z, i + 1) : 0;
            if (c <= 0xDBFF && low >= 0xDC00 && low <= 0xDFFF) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                i++;
            } else {
                c = 0xFFFD;
            }
        }
        if (tr_scratch_reserve(z->s, out, 4, err) != TR_OK)
            return err->rc;
        out->n += tr_utf8_put(out->p + out->n, c);
    }
    return TR_OK;
}

enum tr_rc tr_lzstring_decode(struct tr_capture_scratch *s, struct tr_str in, struct tr_buf *out,
                              struct tr_err *err)
{
    struct lz z = { .s = s, .units = &s->units, .words = &s->words, .width = 2, .grow_in = 4 };
    struct bits bits = { .in = in };

    tr_buf_clear(out);
    tr_buf_clear(&s->units);
    tr_buf_clear(&s->words);
    /* No text is shorter in UTF-8 than half its UTF-16. */
    s->units.max = out->max > SIZE_MAX / 2 ? SIZE_MAX : out->max * 2;
    if (decode_units(&z, &bits, err) != TR_OK)
        return err->rc;
    return to_utf8(&z, out, err);
}
