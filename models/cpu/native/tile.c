#if defined(__x86_64__)
#include "tile.h"

INLINE __m512i times(int kind, __m512i sum, __m512i a, __m512i b) {
    if (kind == LINEAR_INT8) return _mm512_dpbusd_epi32(sum, a, b);
    if (kind == LINEAR_BFLOAT16) return (__m512i)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
    return (__m512i)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
}

/* All sums stay in registers: six rows of four vectors are 24 of 32; four have the panel and one has a row. */
INLINE void tile(int kind, int rows, int vectors, const char *a, long stride, const char *b, long groups,
                 float *c, long c_stride, int more, const char *ahead) {
    __m512i sums[TILE_ROWS][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = more ? _mm512_loadu_si512(c + r * c_stride + v * 16) : _mm512_setzero_si512();
    for (long g = 0; g < groups; g++) {
        __m512i columns[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) columns[v] = _mm512_loadu_si512(b + 64 * v);
        b += 64 * vectors;
        _mm_prefetch(ahead + 64 * g, _MM_HINT_T1);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            int32_t element;
            __builtin_memcpy(&element, a + r * stride + 4 * g, 4);
            __m512i row = _mm512_set1_epi32(element);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sums[r][v] = times(kind, sums[r][v], row, columns[v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(c + r * c_stride + v * 16, sums[r][v]);
}

#define ONE(name, kind, rows, vectors)                                                                       \
    static void name##_##rows##_##vectors(const char *a, long stride, const char *b, long groups, float *c,  \
                                          long c_stride, int more, const char *ahead) {                      \
        tile(kind, rows, vectors, a, stride, b, groups, c, c_stride, more, ahead);                           \
    }
#define FOUR(name, kind, rows)                                                                               \
    ONE(name, kind, rows, 1) ONE(name, kind, rows, 2) ONE(name, kind, rows, 3) ONE(name, kind, rows, 4)
#define ALL(name, kind)                                                                                      \
    FOUR(name, kind, 1)                                                                                      \
    FOUR(name, kind, 2) FOUR(name, kind, 3) FOUR(name, kind, 4) FOUR(name, kind, 5) FOUR(name, kind, 6)
ALL(singles, LINEAR_FLOAT32)
ALL(pairs, LINEAR_BFLOAT16)
ALL(quads, LINEAR_INT8)

#define NAMES(name, rows) {name##_##rows##_1, name##_##rows##_2, name##_##rows##_3, name##_##rows##_4}
#define TABLE(name)                                                                                          \
    {NAMES(name, 1), NAMES(name, 2), NAMES(name, 3), NAMES(name, 4), NAMES(name, 5), NAMES(name, 6)}
static const Tile TILES[3][TILE_ROWS][4] = {TABLE(singles), TABLE(pairs), TABLE(quads)};

Tile tile_of(int kind, int rows, int vectors) { return TILES[kind][rows - 1][vectors - 1]; }

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
