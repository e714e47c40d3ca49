/* Softmax attention inside each sequence: one head of a sequence at a time, in steps of six queries.
 *
 * Keys and values are laid out as panels (tile.h) once a head; scores and probabilities of six queries stay
 * in a core's first-level cache. Nothing is read from another sequence, nor any padding: lanes beyond a
 * sequence are zeros written here.
 */
#if defined(__x86_64__)
#include "parallel.h"
#include "tile.h"

typedef struct {
    const Attention *of;
    int failed;
} Work;

static long up(long number, long step) { return (number + step - 1) / step * step; }

/* Transposes sixteen rows of up to sixteen elements of four bytes: to[i] has element i of every row. */
static void turn(const char *from, long stride, int rows, __mmask16 mask, char *to, long to_stride,
                 int elements) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_epi32(mask, from + i * stride) : _mm512_setzero_si512();
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
    for (int i = 0; i < elements; i++) _mm512_storeu_si512(to + i * to_stride, r[i]);
}

/* Packs keys as panels of 64, with a key's numbers along the inner dimension. */
static void lay_out_keys(const char *k, long stride, int length, long groups, char *to) {
    for (int key = 0; key < length; key += PANEL) {
        int left = length - key, vectors = left >= PANEL ? 4 : (left + 15) / 16;
        for (int v = 0; v < vectors; v++) {
            int first = key + 16 * v, rows = length - first < 16 ? length - first : 16;
            for (long g = 0; g < groups; g += 16) {
                int some = groups - g < 16 ? (int)(groups - g) : 16;
                turn(k + first * stride + 4 * g, stride, rows, lanes(some), to + g * 64 * vectors + 64 * v,
                     64 * vectors, some);
            }
        }
        to += groups * 64 * vectors;
    }
}

/* Packs values as panels of 64 columns of a head, with keys along the inner dimension, in bfloat16 two per
 * element. */
static void lay_out_values(const char *v, long stride, int length, int width, int type, char *to) {
    int keys = type == FLOAT32 ? 1 : 2;
    for (int column = 0; column < width; column += PANEL) {
        int left = width - column, vectors = left >= PANEL ? 4 : (left + 15) / 16;
        for (int key = 0; key < length; key += keys)
            for (int i = 0; i < vectors; i++, to += 64) {
                __mmask16 mask = lanes(left - 16 * i);
                if (type == FLOAT32) {
                    _mm512_storeu_ps(to,
                                     _mm512_maskz_loadu_ps(mask, v + key * stride + 4L * (column + 16 * i)));
                    continue;
                }
                const char *from = v + key * stride + 2L * (column + 16 * i);
                __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)),
                        odd = _mm512_setzero_si512();
                if (key + 1 < length)
                    odd = _mm512_slli_epi32(
                        _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + stride)), 16);
                _mm512_storeu_si512(to, _mm512_or_si512(even, odd));
            }
    }
}

/* Returns sixteen of a row's weights, exp(scale * (score - largest)), as a power of two. */
INLINE __m512 soften_some(const float *scores, __m512 factor, __m512 largest, int type, __mmask16 mask,
                          char *to) {
    __m512 p = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores), factor, largest));
    if (mask != 0xffff) p = _mm512_maskz_mov_ps(mask, p);
    store_numbers(to, type, 0xffff, p);
    return p;
}

/* Writes a row's weights, and zeros up to whole vectors; returns the sum of the weights. */
INLINE float soften(const float *scores, int length, float scale, int type, char *to) {
    int whole = length / 16 * 16, size = type == FLOAT32 ? 4 : 2;
    __mmask16 rest = lanes(length - whole);
    __m512 most = _mm512_set1_ps(-__builtin_inff()), sum = _mm512_setzero_ps();
    for (int i = 0; i < whole; i += 16) most = _mm512_max_ps(most, _mm512_loadu_ps(scores + i));
    if (rest) most = _mm512_mask_max_ps(most, rest, most, _mm512_loadu_ps(scores + whole));
    __m512 factor = _mm512_set1_ps(scale * 1.44269504f);
    __m512 largest = _mm512_mul_ps(_mm512_set1_ps(_mm512_reduce_max_ps(most)), factor);
    for (int i = 0; i < whole; i += 16)
        sum = _mm512_add_ps(sum, soften_some(scores + i, factor, largest, type, 0xffff, to + i * size));
    if (rest)
        sum = _mm512_add_ps(sum, soften_some(scores + whole, factor, largest, type, rest, to + whole * size));
    return _mm512_reduce_add_ps(sum);
}

static void attend_head(long index, void *context) {
    Work *work = context;
    const Attention *of = work->of;
    int sequence = (int)(index / of->heads), head = (int)(index % of->heads), type = of->type,
        width = of->width;
    int size = type == FLOAT32 ? 4 : 2, kind = type == FLOAT32 ? LINEAR_FLOAT32 : LINEAR_BFLOAT16;
    long start = of->starts[sequence];
    int length = (int)(of->starts[sequence + 1] - start);
    long wide = up(length, 16), groups = (long)width * size / 4, key_groups = ((long)length * size + 3) / 4;
    long key_bytes = groups * 4 * wide, value_bytes = key_groups * 4 * up(width, 16);
    long score_bytes = TILE_ROWS * wide * 4, share_stride = wide * size;
    char *keys = scratch(key_bytes + value_bytes + score_bytes + TILE_ROWS * share_stride);
    if (!keys) {
        work->failed = 1;
        return;
    }
    char *values = keys + key_bytes, *shares = values + value_bytes + score_bytes;
    float *scores = (float *)(values + value_bytes);
    const char *q = of->q + start * of->q_stride + head * of->q_head;
    lay_out_keys(of->k + start * of->k_stride + head * of->k_head, of->k_stride, length, groups, keys);
    lay_out_values(of->v + start * of->v_stride + head * of->v_head, of->v_stride, length, width, type,
                   values);
    float scale = 1.0f / __builtin_sqrtf((float)width), tile[TILE_ROWS * PANEL] __attribute__((aligned(64)));
    for (int row = 0; row < length; row += TILE_ROWS) {
        int rows = length - row < TILE_ROWS ? length - row : TILE_ROWS;
        const char *panel = keys;
        for (int key = 0; key < length; key += PANEL) {
            int left = length - key, vectors = left >= PANEL ? 4 : (left + 15) / 16;
            tile_of(kind, rows, vectors)(q + row * of->q_stride, of->q_stride, panel, groups, scores + key,
                                         wide, 0, panel);
            panel += groups * 64 * vectors;
        }
        float sums[TILE_ROWS];
        for (int r = 0; r < rows; r++)
            sums[r] = type == FLOAT32
                          ? soften(scores + r * wide, length, scale, FLOAT32, shares + r * share_stride)
                          : soften(scores + r * wide, length, scale, BFLOAT16, shares + r * share_stride);
        panel = values;
        for (int first = 0; first < width; first += PANEL) {
            int left = width - first, vectors = left >= PANEL ? 4 : (left + 15) / 16;
            tile_of(kind, rows, vectors)(shares, share_stride, panel, key_groups, tile, PANEL, 0, panel);
            for (int r = 0; r < rows; r++) {
                char *out = of->out + (start + row + r) * of->out_stride + head * of->out_head + first * size;
                __m512 factor = _mm512_set1_ps(1.0f / sums[r]);
                for (int v = 0; v < vectors; v++)
                    store_numbers(out + 16 * v * size, type, lanes(left - 16 * v),
                                  _mm512_mul_ps(_mm512_loadu_ps(tile + r * PANEL + v * 16), factor));
            }
            panel += key_groups * 64 * vectors;
        }
    }
}

int corpusmill_attend(const Attention *attention) {
    Work work = {attention, 0};
    in_parallel((long)attention->sequences * attention->heads, attention->threads, attend_head, &work);
    return work.failed ? -1 : 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
