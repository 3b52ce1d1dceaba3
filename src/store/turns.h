/* A lock that goes to whoever waits for it: who gives it away and wants it again at once comes
 * after them. */
#ifndef TR_STORE_TURNS_H
#define TR_STORE_TURNS_H

#include <pthread.h>

struct turns {
    pthread_mutex_t lock, next; /* who waits holds `next` */
};

static inline void turns_init(struct turns *t)
{
    (void)pthread_mutex_init(&t->lock, NULL);
    (void)pthread_mutex_init(&t->next, NULL);
}

static inline void turns_fini(struct turns *t)
{
    (void)pthread_mutex_destroy(&t->lock);
    (void)pthread_mutex_destroy(&t->next);
}

static inline void turns_take(struct turns *t)
{
    (void)pthread_mutex_lock(&t->next);
    (void)pthread_mutex_lock(&t->lock);
    (void)pthread_mutex_unlock(&t->next);
}

static inline void turns_give(struct turns *t)
{
    (void)pthread_mutex_unlock(&t->lock);
}

#endif
