#include "parallel.h"

#include <stdlib.h>

#include "kernels.h"

/* The threads are those of PyTorch's copy of OpenMP. Threads of a second copy would spin on the cores on which
 * the first copy computes, and the reverse. */
typedef void (*Start)(void (*)(void *), void *, unsigned, unsigned);
static Start start_threads;

void corpusmill_use_threads(void *gomp_parallel) { start_threads = (Start)gomp_parallel; }

typedef struct {
    long next, count;
    void (*body)(long, void *);
    void *context;
} Loop;

static void take_turns(void *data) {
    Loop *loop = data;
    for (;;) {
        long index = __atomic_fetch_add(&loop->next, 1, __ATOMIC_RELAXED);
        if (index >= loop->count) return;
        loop->body(index, loop->context);
    }
}

void in_parallel(long count, int threads, void (*body)(long, void *), void *context) {
    Loop loop = {0, count, body, context};
    if (threads > count) threads = (int)count;
    if (threads > 1 && start_threads)
        start_threads(take_turns, &loop, (unsigned)threads, 0);
    else
        take_turns(&loop);
}

static __thread char *kept;
static __thread size_t size;

char *scratch(size_t bytes) {
    if (bytes > size) {
        free(kept);
        size = (bytes + 63) / 64 * 64;
        kept = aligned_alloc(64, size);
        if (!kept) size = 0;
    }
    return kept;
}
