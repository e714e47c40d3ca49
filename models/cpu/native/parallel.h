/* Loops on OpenMP's threads, and memory per thread. */
#ifndef CORPUSMILL_PARALLEL_H
#define CORPUSMILL_PARALLEL_H

#include <stddef.h>

/* Calls body(0 .. count - 1, context), each once, on up to `threads` threads; a free thread takes the next.
 */
void in_parallel(long count, int threads, void (*body)(long, void *), void *context);

/* Returns memory of the calling thread, aligned to 64 bytes and kept for its next call, or null. */
char *scratch(size_t bytes);

#endif
