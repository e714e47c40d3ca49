/* Norms of a block's rows, in float32. */
#if defined(__x86_64__)
#include "block.h"

/* LayerNorm of each row, over `inputs` columns, in float32. */
void norm_rows(const Step *step, const Block *block, int rows) {
    Rows from = columns_of(block, step->from, step->from_column),
         to = columns_of(block, step->to, step->to_column);
    const float *factors = (const float *)step->weight;
    int width = step->inputs;
    for (int r = 0; r < rows; r++) {
        const char *x = from.base + r * from.stride;
        char *y = to.base + r * to.stride;
        __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (int i = 0; i < width; i += 16)
            sum = _mm512_add_ps(sum, load_numbers(x + i * size_of(from.type), from.type, lanes(width - i)));
        __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 d =
                _mm512_maskz_sub_ps(mask, load_numbers(x + i * size_of(from.type), from.type, mask), mean);
            squares = _mm512_fmadd_ps(d, d, squares);
        }
        __m512 factor =
            _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / width + step->eps));
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 d = _mm512_sub_ps(load_numbers(x + i * size_of(from.type), from.type, mask), mean);
            d = _mm512_mul_ps(d, factor);
            d = _mm512_fmadd_ps(d, _mm512_loadu_ps(factors + i), _mm512_loadu_ps(step->bias + i));
            store_numbers(y + i * size_of(to.type), to.type, mask, d);
        }
    }
}

void scale_and_shift_rows(const Step *step, const Block *block, int rows) {
    Rows from = columns_of(block, step->from, step->from_column),
         to = columns_of(block, step->to, step->to_column);
    const float *factors = (const float *)step->weight;
    for (int r = 0; r < rows; r++) {
        const char *x = from.base + r * from.stride;
        char *y = to.base + r * to.stride;
        for (int i = 0; i < step->inputs; i += 16) {
            __mmask16 mask = lanes(step->inputs - i);
            __m512 d = load_numbers(x + i * size_of(from.type), from.type, mask);
            d = _mm512_fmadd_ps(d, _mm512_loadu_ps(factors + i), _mm512_loadu_ps(step->bias + i));
            store_numbers(y + i * size_of(to.type), to.type, mask, d);
        }
    }
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
