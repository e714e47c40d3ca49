/* Linear maps of a block: a product with panels of weights, and the later steps while its sums are in cache.
 */
#if defined(__x86_64__)
#include "block.h"

/* Groups of four bytes of the inner dimension per pass, so that this part of a panel stays in the cache.
 */
enum { PART = 768 };

/* Writes each row as bytes between its least and greatest value: number = offset + scale * byte. NaN and
 * infinities make the scale NaN, and so the row's results. */
static void quantize(Rows from, int width, int rows, Block *block) {
    for (int r = 0; r < rows; r++) {
        const char *row = from.base + r * from.stride;
        char *bytes = block->copies + r * block->copy_stride;
        __m512 least = _mm512_set1_ps(__builtin_inff()), most = _mm512_set1_ps(-__builtin_inff());
        __m512 broken = _mm512_setzero_ps();
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 x = load_numbers(row + i * size_of(from.type), from.type, mask);
            least = _mm512_mask_min_ps(least, mask, least, x);
            most = _mm512_mask_max_ps(most, mask, most, x);
            broken = _mm512_fmadd_ps(x, _mm512_setzero_ps(), broken);
        }
        float low = _mm512_reduce_min_ps(least), range = _mm512_reduce_max_ps(most) - low;
        block->scales[r] = range / 255.0f + _mm512_reduce_add_ps(broken);
        block->offsets[r] = low;
        __m512 offset = _mm512_set1_ps(low), steps = _mm512_set1_ps(range > 0 ? 255.0f / range : 0.0f);
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 x = load_numbers(row + i * size_of(from.type), from.type, mask);
            __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(x, offset), steps));
            _mm_mask_storeu_epi8(bytes + i, mask,
                                 _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512())));
        }
    }
}

/* Converts rows to the type of a map's weights. */
static void convert(Rows from, int width, int type, int rows, Block *block) {
    for (int r = 0; r < rows; r++) {
        const char *row = from.base + r * from.stride;
        char *to = block->copies + r * block->copy_stride;
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 x = load_numbers(row + i * size_of(from.type), from.type, mask);
            store_numbers(to + i * size_of(type), type, mask, x);
        }
    }
}

/* Returns the bytes of a row of a map's inputs in the type of its weights. */
static long input_bytes(const Step *step) {
    return step->inputs * (step->kind == LINEAR_INT8 ? 1 : step->kind == LINEAR_BFLOAT16 ? 2 : 4);
}

/* The steps after the product for 16 columns of a row: scales of bytes, bias, activation, residual. */
INLINE __m512 finished(const float *sum, int bytes, __m512 bias, __m512 scale, __m512 shift, __m512 row_scale,
                       __m512 row_offset, int activation) {
    __m512 x;
    if (bytes) {
        x = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sum)), scale);
        x = _mm512_fmadd_ps(x, row_scale, bias);
        x = _mm512_fmadd_ps(row_offset, shift, x);
    } else {
        x = _mm512_add_ps(_mm512_loadu_ps(sum), bias);
    }
    return activated(x, activation);
}

/* These steps for all rows of a panel, a `whole` one or the last. All arguments but the block and its place
 * are constants at each call. */
INLINE void finish_rows(const Step *step, const Block *block, const float *sums, int rows, int column,
                        int whole, int activation, int bytes, int to_type, int residual_type) {
    int vectors = whole ? 4 : (step->outputs - column + 15) / 16;
    Rows to = columns_of(block, step->to, step->to_column + column);
    Rows residual = columns_of(block, step->residual, step->residual_column + column);
    __m512 bias[4], scale[4], shift[4];
    for (int v = 0; v < vectors; v++) {
        bias[v] = step->bias ? _mm512_loadu_ps(step->bias + column + 16 * v) : _mm512_setzero_ps();
        scale[v] = bytes ? _mm512_loadu_ps(step->scale + column + 16 * v) : _mm512_setzero_ps();
        shift[v] = bytes ? _mm512_loadu_ps(step->sums + column + 16 * v) : _mm512_setzero_ps();
    }
    for (int r = 0; r < rows; r++) {
        __m512 row_scale = _mm512_set1_ps(bytes ? block->scales[r] : 0.0f);
        __m512 row_offset = _mm512_set1_ps(bytes ? block->offsets[r] : 0.0f);
        char *out = to.base + r * to.stride;
        const char *added = residual.base + r * residual.stride;
        for (int v = 0; v < vectors; v++) {
            const float *sum = sums + (r * vectors + v) * 16;
            __mmask16 mask = whole ? 0xffff : lanes(step->outputs - column - 16 * v);
            __m512 x = finished(sum, bytes, bias[v], scale[v], shift[v], row_scale, row_offset, activation);
            if (residual_type >= 0)
                x = _mm512_add_ps(x,
                                  load_numbers(added + 16 * v * size_of(residual_type), residual_type, mask));
            store_numbers(out + 16 * v * size_of(to_type), to_type, mask, x);
        }
    }
}

/* The compiler makes a version for each combination of constant types. */
INLINE void finish(const Step *step, const Block *block, const float *sums, int rows, int column, int whole,
                   int activation, int bytes) {
    int to = block->rows[step->to].type,
        residual = step->residual < 0 ? -1 : block->rows[step->residual].type;
#define FINISH(TO, RESIDUAL)                                                                                 \
    finish_rows(step, block, sums, rows, column, whole, activation, bytes, TO, RESIDUAL)
    if (to == FLOAT32) {
        if (residual < 0)
            FINISH(FLOAT32, -1);
        else if (residual == FLOAT32)
            FINISH(FLOAT32, FLOAT32);
        else
            FINISH(FLOAT32, BFLOAT16);
    } else {
        if (residual < 0)
            FINISH(BFLOAT16, -1);
        else if (residual == FLOAT32)
            FINISH(BFLOAT16, FLOAT32);
        else
            FINISH(BFLOAT16, BFLOAT16);
    }
#undef FINISH
}

#define FINISHER(name, activation)                                                                           \
    static void name(const Step *step, const Block *block, const float *sums, int rows, int column) {        \
        int whole = step->outputs - column >= PANEL;                                                         \
        if (step->kind == LINEAR_INT8 && whole)                                                              \
            finish(step, block, sums, rows, column, 1, activation, 1);                                       \
        else if (whole)                                                                                      \
            finish(step, block, sums, rows, column, 1, activation, 0);                                       \
        else                                                                                                 \
            finish(step, block, sums, rows, column, 0, activation, step->kind == LINEAR_INT8);               \
    }
FINISHER(finish_plain, NONE)
FINISHER(finish_relu, RELU)
FINISHER(finish_gelu, GELU)
FINISHER(finish_gelu_tanh, GELU_TANH)

/* One panel for all rows: sums, then the later steps. `ahead` is prefetched while the first tiles are
 * computed. */
static void map_panel(const Step *step, Block *block, Rows from, int rows, int column, const char *panel,
                      const char *following) {
    float sums[MOST_ROWS * PANEL] __attribute__((aligned(64)));
    int left = step->outputs - column, vectors = left >= PANEL ? 4 : (left + 15) / 16;
    long groups = input_bytes(step) / 4;
    for (long group = 0; group < groups; group += PART) {
        long some = groups - group < PART ? groups - group : PART;
        const char *next = panel + some * 64 * vectors;
        const char *ahead = group + some == groups && left <= PANEL ? following : next;
        for (int row = 0; row < rows; row += TILE_ROWS) {
            Tile tile = tile_of(step->kind, rows - row < TILE_ROWS ? rows - row : TILE_ROWS, vectors);
            tile(from.base + row * from.stride + 4 * group, from.stride, panel, some,
                 sums + row * 16 * vectors, 16 * vectors, group > 0, ahead + row / TILE_ROWS % 4 * some * 64);
        }
        panel = next;
    }
    switch (step->activation) {
    case RELU: finish_relu(step, block, sums, rows, column); break;
    case GELU: finish_gelu(step, block, sums, rows, column); break;
    case GELU_TANH: finish_gelu_tanh(step, block, sums, rows, column); break;
    default: finish_plain(step, block, sums, rows, column);
    }
}

long copied_bytes(const Step *step, int type) {
    int as_it_is =
        step->kind == LINEAR_FLOAT32 ? type == FLOAT32 : step->kind == LINEAR_BFLOAT16 && type == BFLOAT16;
    return step->kind > LINEAR_INT8 || as_it_is ? 0 : input_bytes(step);
}

void map_rows(const Step *step, Block *block, int rows, const char *following) {
    Rows from = columns_of(block, step->from, step->from_column);
    if (copied_bytes(step, from.type)) {
        if (step->kind == LINEAR_INT8)
            quantize(from, step->inputs, rows, block);
        else
            convert(from, step->inputs, step->kind == LINEAR_FLOAT32 ? FLOAT32 : BFLOAT16, rows, block);
        from.base = block->copies;
        from.stride = block->copy_stride;
    }
    const char *panel = step->weight;
    for (int column = 0; column < step->outputs; column += PANEL) {
        map_panel(step, block, from, rows, column, panel, following);
        panel += input_bytes(step) * PANEL;
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
