/* Rows that go through a program's steps together. */
#ifndef CORPUSMILL_BLOCK_H
#define CORPUSMILL_BLOCK_H

#include <stddef.h>

#include "tile.h"

enum { MOST_ROWS = 96, MOST_BUFFERS = 16 };

/* Rows of a buffer, the caller's or a thread's own. */
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

/* A place in rows that start at a column; null for no buffer. */
INLINE Rows columns_of(const Block *block, int buffer, int column) {
    Rows rows = {0, 0, FLOAT32};
    if (buffer >= 0) {
        rows = block->rows[buffer];
        rows.base += column * size_of(rows.type);
    }
    return rows;
}

/* Bytes of a row of a map's inputs where they have to be copied, as bytes or in the weights' type; else 0. */
long copied_bytes(const Step *step, int type);
/* The steps. `following` are the weights that are multiplied with next: they are asked for meanwhile. */
void map_rows(const Step *step, Block *block, int rows, const char *following);
void norm_rows(const Step *step, const Block *block, int rows);
void scale_and_shift_rows(const Step *step, const Block *block, int rows);

#endif
