/* Loops on OpenMP's threads, and memory of a thread's own. */
#ifndef CORPUSMILL_PARALLEL_H
#define CORPUSMILL_PARALLEL_H

#include <stddef.h>

/* Calls body(0 .. count - 1, context), each once, on up to `threads` threads: whoever is free takes the next.
 */
void in_parallel(long count, int threads, void (*body)(long, void *), void *context);

/* Memory of the calling thread, aligned to 64 bytes and kept for its next call; null where there is none. */
char *scratch(size_t bytes);

#endif
