/* The arithmetic of accounts. Pure. */
#include "delivery/delivery_priv.h"

const char tr_delivery_unbalanced[] = "delivery.unbalanced";

bool tr_account_balances(const struct tr_account *a)
{
    return a->stored == a->selected + a->excluded + a->elsewhere &&
           a->selected == a->delivered + a->already_there + a->rejected;
}

void tr_account_add(struct tr_account *sum, const struct tr_account *a)
{
    sum->stored += a->stored;
    sum->elsewhere += a->elsewhere;
    sum->selected += a->selected;
    sum->excluded += a->excluded;
    sum->delivered += a->delivered;
    sum->already_there += a->already_there;
    sum->rejected += a->rejected;
    sum->repaired += a->repaired;
    sum->bytes += a->bytes;
}

struct tr_account account_of_commit(uint64_t rows, uint64_t selected, const struct tr_receipt *r)
{
    return (struct tr_account){
        .stored = rows,
        .selected = selected,
        .excluded = rows - selected,
        .delivered = r->delivered,
        .rejected = r->rejected,
        .repaired = r->repaired,
        .bytes = r->bytes,
    };
}

/* What the destination remembers is what happened: the filters may be others by now. Rows that
 * change may have left the chunk since it was planned: then it held what is remembered. */
struct tr_account account_of_lookup(uint64_t rows, bool mutable, const struct tr_receipt *r)
{
    uint64_t selected = r->delivered + r->rejected;

    rows = mutable ? selected : rows;
    return (struct tr_account){
        .stored = rows,
        .selected = selected,
        .excluded = selected <= rows ? rows - selected : 0,
        .already_there = r->delivered,
        .rejected = r->rejected,
        .repaired = r->repaired,
        .bytes = r->bytes,
    };
}

struct tr_receipt account_receipt(const struct tr_account *a)
{
    return (struct tr_receipt){
        .delivered = a->delivered + a->already_there,
        .rejected = a->rejected,
        .repaired = a->repaired,
        .bytes = a->bytes,
    };
}

struct tr_account account_sum(const struct tr_chunk *chunks, size_t n)
{
    struct tr_account sum = { 0 };

    for (size_t i = 0; i < n; i++) {
        if (chunks[i].state == TR_CHUNK_DELIVERED)
            tr_account_add(&sum, &chunks[i].account);
    }
    return sum;
}
