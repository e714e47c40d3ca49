/* Shared AVX-512 arithmetic: functions of 16 numbers, and numbers in float32 or bfloat16.
 *
 * NaN has to get through: the min and max instructions return their second operand if either is NaN, so the
 * value that may be NaN stands second everywhere.
 */
#ifndef CORPUSMILL_VECTOR_H
#define CORPUSMILL_VECTOR_H

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdint.h>

#include "kernels.h"

/* The instructions of all later functions in a file that includes this; `corpusmill_supported` checks them. */
#if defined(__clang__)
#pragma clang attribute push(                                                                                \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni"))),                     \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni")
#endif

#define INLINE static inline __attribute__((always_inline))

/* Returns the mask of the first `count` of 16 lanes, none if negative, all if larger. */
INLINE __mmask16 lanes(long count) {
    return count >= 16 ? (__mmask16)0xffff : count <= 0 ? (__mmask16)0 : (__mmask16)((1u << count) - 1);
}

INLINE __m512 load_numbers(const char *from, int type, __mmask16 mask) {
    if (type == FLOAT32) return _mm512_maskz_loadu_ps(mask, from);
    __m256i half = _mm256_maskz_loadu_epi16(mask, from);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

INLINE void store_numbers(char *to, int type, __mmask16 mask, __m512 x) {
    if (type == FLOAT32)
        _mm512_mask_storeu_ps(to, mask, x);
    else
        _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

/* 2^x, relative error 1e-7; 0 below -150. The polynomial is a minimax fit of 2^f on [-1/2, 1/2]. */
INLINE __m512 exp2_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-150.0f), x);
    __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(1.32764081e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.67554069e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55071344e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40221197e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93146967e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
}

/* GELU: max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, absolute error 1e-7.
 *
 * erfc(a / sqrt 2) is 2^-q(a), and q a smooth function: a minimax fit of degree 6 on [0, 6], weighted by what
 * an error does to the result.
 */
INLINE __m512 gelu_of(__m512 x) {
    __m512 a = _mm512_min_ps(_mm512_set1_ps(6.0f), _mm512_abs_ps(x));
    __m512 q = _mm512_set1_ps(2.99241608e-5f);
    q = _mm512_fmadd_ps(q, a, _mm512_set1_ps(-7.39873996e-4f));
    q = _mm512_fmadd_ps(q, a, _mm512_set1_ps(7.97746203e-3f));
    q = _mm512_fmadd_ps(q, a, _mm512_set1_ps(-5.32381856e-2f));
    q = _mm512_fmadd_ps(q, a, _mm512_set1_ps(-4.58915687e-1f));
    q = _mm512_fmadd_ps(q, a, _mm512_set1_ps(-1.15114708f));
    __m512 tail = _mm512_mul_ps(_mm512_mul_ps(a, _mm512_set1_ps(0.5f)), exp2_of(_mm512_mul_ps(q, a)));
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), tail);
}

/* GELU in its tanh form: x / (1 + exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3). */
INLINE __m512 gelu_tanh_of(__m512 x) {
    const float log2e = 1.44269504f, twice = 1.59576912f;
    __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f));
    __m512 u = _mm512_mul_ps(_mm512_mul_ps(x, cubic), _mm512_set1_ps(-twice * log2e));
    return _mm512_div_ps(
        x, _mm512_add_ps(_mm512_set1_ps(1.0f), exp2_of(_mm512_min_ps(_mm512_set1_ps(127.0f), u))));
}

INLINE __m512 activated(__m512 x, int activation) {
    switch (activation) {
    case RELU: return _mm512_max_ps(_mm512_setzero_ps(), x);
    case GELU: return gelu_of(x);
    case GELU_TANH: return gelu_tanh_of(x);
    default: return x;
    }
}

#endif
#endif
