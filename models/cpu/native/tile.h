/* Products of a few rows with a panel of weights: the innermost loop of all kernels.
 *
 * A panel holds up to 64 columns as `groups` lines of `vectors` times 16 elements of four bytes. An element
 * is one float32, two neighbouring bfloat16 or four neighbouring bytes along the inner dimension, which the
 * rows have in the same order, so that four bytes of a row meet one element of each column. Each result is
 * one chain of additions in the order of the inner dimension, whatever the number of rows.
 */
#ifndef CORPUSMILL_TILE_H
#define CORPUSMILL_TILE_H

#include "vector.h"

enum { TILE_ROWS = 6, PANEL = 64 };

/* Rows `a` (stride in bytes) times a panel `b`, to 16 * vectors columns of c (stride in numbers), in float32,
 * or int32 for bytes; added to what is there if there is `more` to a sum. A line of `ahead` is asked for with
 * each group. */
typedef void (*Tile)(const char *a, long stride, const char *b, long groups, float *c, long c_stride,
                     int more, const char *ahead);

/* Returns the function for a kind of map (LINEAR_...), 1 to TILE_ROWS rows and 1 to 4 vectors. */
Tile tile_of(int kind, int rows, int vectors);

#endif
