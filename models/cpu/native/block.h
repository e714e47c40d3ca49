/* The rows that a program processes together. */
#ifndef CORPUSMILL_BLOCK_H
#define CORPUSMILL_BLOCK_H

#include <stddef.h>

#include "tile.h"

enum { MOST_ROWS = 96, MOST_BUFFERS = 16 };

/* Rows of a buffer, of the caller or of a thread. */
typedef struct {
    char *base;
    long stride;
    int type;
} Rows;

typedef struct {
    Rows rows[MOST_BUFFERS];
    char *copies; /* a map's inputs as bytes or in another type */
    long copy_stride;
    float *scales, *offsets; /* int8: of each row */
} Block;

INLINE size_t size_of(int type) { return type == FLOAT32 ? 4 : 2; }

/* Rows from a column on; null for no buffer. */
INLINE Rows columns_of(const Block *block, int buffer, int column) {
    Rows rows = {0, 0, FLOAT32};
    if (buffer >= 0) {
        rows = block->rows[buffer];
        rows.base += column * size_of(rows.type);
    }
    return rows;
}

/* Returns the bytes of a copied row of a map's inputs (as bytes or in the weights' type), or 0 without a copy. */
long copied_bytes(const Step *step, int type);
/* The steps. `following` are the weights that are used next; they are prefetched. */
void map_rows(const Step *step, Block *block, int rows, const char *following);
void norm_rows(const Step *step, const Block *block, int rows);
void scale_and_shift_rows(const Step *step, const Block *block, int rows);

#endif
