/* The interface for Python, which calls the library through ctypes; bindings.py has the same structures. */
#ifndef CORPUSMILL_KERNELS_H
#define CORPUSMILL_KERNELS_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum { FLOAT32 = 0, BFLOAT16 = 1 }; /* numbers */
enum { LINEAR_FLOAT32 = 0, LINEAR_BFLOAT16 = 1, LINEAR_INT8 = 2, NORM = 3, SCALE_AND_SHIFT = 4 }; /* steps */
enum { NONE = 0, RELU = 1, GELU = 2, GELU_TANH = 3 }; /* activations */

/* Rows of numbers: of the caller, or if `base` is null, of the current block. */
typedef struct {
    char *base;
    int64_t stride; /* bytes from row to row; unused without a base */
    int32_t type;
    int32_t width; /* numbers of a row */
} Buffer;

/* One step of a program, on columns of buffers. `residual` is -1, or added to a map's result. */
typedef struct {
    int32_t kind, activation;
    int32_t from, from_column, to, to_column, residual, residual_column;
    int32_t inputs, outputs;
    float eps;
    const char *weight; /* a map's panels (tile.h), or a norm's factors */
    const float *scale; /* int8: of each output */
    const float *sums;  /* int8: the change of each output by an offset of 1 */
    const float *bias;  /* each output's, or a norm's addends; may be null for a map */
} Step;

/* Softmax attention of heads whose numbers are contiguous; q, k, v and out have one type. */
typedef struct {
    const char *q, *k, *v;
    char *out;
    int64_t q_stride, k_stride, v_stride, out_stride; /* bytes from token to token */
    int64_t q_head, k_head, v_head, out_head;         /* bytes from head to head */
    const int32_t *starts;                            /* sequences + 1 of them */
    int32_t sequences, heads, width, type, threads;
} Attention;

/* Returns the sizes of Buffer, Step and Attention, one per byte from the lowest, to check the caller's. */
EXPORT int corpusmill_sizes(void);
/* Returns 1 if the CPU has all instructions that these functions use. */
EXPORT int corpusmill_supported(void);
/* Sets the function that starts OpenMP's threads, like libgomp's GOMP_parallel; null for none. */
EXPORT void corpusmill_use_threads(void *gomp_parallel);
/* Runs all steps on all rows, block by block. Returns 0, or -1 if memory is short. */
EXPORT int corpusmill_run(const Step *steps, int count, const Buffer *buffers, int buffer_count, int64_t rows,
                          int threads);
EXPORT int corpusmill_attend(const Attention *attention);

#endif
