/* Programs of steps that work on each row by itself, run on blocks of rows that stay in a core's cache.
 *
 * A layer's steps between two attentions are one program: nothing between them is written to memory, and rows are
 * shared out to threads once.
 */
#include "parallel.h"
#include "tile.h"

#if defined(__x86_64__)
/* Bytes of a block that leave room in a core's second-level cache for a panel of weights; rows of a block. */
enum { PART = 768, BLOCK_BYTES = 2400 << 10, MOST_ROWS = 96, MOST_BUFFERS = 16 };

typedef struct {
    const Step *steps;
    int count;
    const Buffer *buffers;
    int buffer_count;
    int64_t rows;
    long block, quarter, whole; /* rows of a block and of a smaller one, and how many blocks there are */
    long widest;  /* bytes of a row of the widest map's inputs, where those have to be copied */
    size_t bytes; /* of a block in all */
    int failed;
} Program;

/* Rows of a block: the numbers of a buffer, of which some may be the caller's. */
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

static size_t size_of(int type) { return type == FLOAT32 ? 4 : 2; }
/* Rows lie a cache line further apart than they are long, so that those of one tile do not compete for a set. */
static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64 + 64; }

/* Each row as bytes between its least and greatest value: number = offset + scale * byte. NaN and infinities
 * make the scale NaN, and so the row's results. */
static void quantize(Rows from, int column, int width, int rows, Block *block) {
    for (int r = 0; r < rows; r++) {
        const char *row = from.base + r * from.stride + column * size_of(from.type);
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
            _mm_mask_storeu_epi8(bytes + i, mask, _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512())));
        }
    }
}

/* A place in rows that start at a column; null for no rows. */
static Rows columns_of(const Block *block, int buffer, int column) {
    Rows rows = {0, 0, FLOAT32};
    if (buffer >= 0) {
        rows = block->rows[buffer];
        rows.base += column * size_of(rows.type);
    }
    return rows;
}

/* What follows the product for 16 columns of a row: scales of bytes, bias, activation, residual. */
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

/* That for all rows of a panel, a `whole` one or the last. All but the block and its place are constants where it is called. */
INLINE void finish_rows(const Step *step, const Block *block, const float *sums, int rows, int column, int whole,
                        int activation, int bytes, int to_type, int residual_type) {
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
                x = _mm512_add_ps(x, load_numbers(added + 16 * v * size_of(residual_type), residual_type, mask));
            store_numbers(out + 16 * v * size_of(to_type), to_type, mask, x);
        }
    }
}

/* The types are constants in what is compiled for them. */
INLINE void finish(const Step *step, const Block *block, const float *sums, int rows, int column, int whole,
                   int activation, int bytes) {
    int to = block->rows[step->to].type, residual = step->residual < 0 ? -1 : block->rows[step->residual].type;
#define FINISH(TO, RESIDUAL) finish_rows(step, block, sums, rows, column, whole, activation, bytes, TO, RESIDUAL)
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

#define FINISHER(name, activation)                                                                     \
    static void name(const Step *step, const Block *block, const float *sums, int rows, int column) {  \
        int whole = step->outputs - column >= PANEL;                                                   \
        if (step->kind == LINEAR_INT8 && whole)                                                        \
            finish(step, block, sums, rows, column, 1, activation, 1);                                 \
        else if (whole)                                                                                \
            finish(step, block, sums, rows, column, 1, activation, 0);                                 \
        else                                                                                           \
            finish(step, block, sums, rows, column, 0, activation, step->kind == LINEAR_INT8);         \
    }
FINISHER(finish_plain, NONE)
FINISHER(finish_relu, RELU)
FINISHER(finish_gelu, GELU)
FINISHER(finish_gelu_tanh, GELU_TANH)

/* Rows in another type, for a map whose weights have that. */
static void convert(Rows from, int column, int width, int type, int rows, Block *block) {
    for (int r = 0; r < rows; r++) {
        const char *row = from.base + r * from.stride + column * size_of(from.type);
        char *to = block->copies + r * block->copy_stride;
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 x = load_numbers(row + i * size_of(from.type), from.type, mask);
            store_numbers(to + i * size_of(type), type, mask, x);
        }
    }
}

/* Bytes of a row of a map's inputs as its weights need them. */
static long input_bytes(const Step *step) {
    return step->inputs * (step->kind == LINEAR_INT8 ? 1 : step->kind == LINEAR_BFLOAT16 ? 2 : 4);
}

static void map(const Step *step, Block *block, int rows) {
    Rows from = block->rows[step->from];
    const char *a = from.base + step->from_column * size_of(from.type);
    long stride = from.stride, groups = input_bytes(step) / 4;
    int type = step->kind == LINEAR_FLOAT32 ? FLOAT32 : BFLOAT16;
    if (step->kind == LINEAR_INT8 || from.type != type) {
        if (step->kind == LINEAR_INT8)
            quantize(from, step->from_column, step->inputs, rows, block);
        else
            convert(from, step->from_column, step->inputs, type, rows, block);
        a = block->copies;
        stride = block->copy_stride;
    }
    float sums[MOST_ROWS * PANEL] __attribute__((aligned(64)));
    const char *panel = step->weight;
    for (int column = 0; column < step->outputs; column += PANEL) {
        int left = step->outputs - column, vectors = left >= PANEL ? 4 : (left + 15) / 16;
        for (long group = 0; group < groups; group += PART) {
            long some = groups - group < PART ? groups - group : PART;
            for (int row = 0; row < rows; row += TILE_ROWS)
                tile_of(step->kind, rows - row < TILE_ROWS ? rows - row : TILE_ROWS, vectors)(
                    a + row * stride + 4 * group, stride, panel, some, sums + row * 16 * vectors, 16 * vectors, group > 0);
            panel += some * 64 * vectors;
        }
        switch (step->activation) {
        case RELU: finish_relu(step, block, sums, rows, column); break;
        case GELU: finish_gelu(step, block, sums, rows, column); break;
        case GELU_TANH: finish_gelu_tanh(step, block, sums, rows, column); break;
        default: finish_plain(step, block, sums, rows, column);
        }
    }
}

/* LayerNorm of each row, over `inputs` columns, in float32. */
static void norm(const Step *step, const Block *block, int rows) {
    Rows from = block->rows[step->from], to = block->rows[step->to];
    const float *factors = (const float *)step->weight;
    int width = step->inputs;
    for (int r = 0; r < rows; r++) {
        const char *x = from.base + r * from.stride + step->from_column * size_of(from.type);
        char *y = to.base + r * to.stride + step->to_column * size_of(to.type);
        __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (int i = 0; i < width; i += 16)
            sum = _mm512_add_ps(sum, load_numbers(x + i * size_of(from.type), from.type, lanes(width - i)));
        __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 d = _mm512_maskz_sub_ps(mask, load_numbers(x + i * size_of(from.type), from.type, mask), mean);
            squares = _mm512_fmadd_ps(d, d, squares);
        }
        __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / width + step->eps));
        for (int i = 0; i < width; i += 16) {
            __mmask16 mask = lanes(width - i);
            __m512 d = _mm512_sub_ps(load_numbers(x + i * size_of(from.type), from.type, mask), mean);
            d = _mm512_mul_ps(d, factor);
            d = _mm512_fmadd_ps(d, _mm512_loadu_ps(factors + i), _mm512_loadu_ps(step->bias + i));
            store_numbers(y + i * size_of(to.type), to.type, mask, d);
        }
    }
}

static void scale_and_shift(const Step *step, const Block *block, int rows) {
    Rows from = block->rows[step->from], to = block->rows[step->to];
    const float *factors = (const float *)step->weight;
    for (int r = 0; r < rows; r++) {
        const char *x = from.base + r * from.stride + step->from_column * size_of(from.type);
        char *y = to.base + r * to.stride + step->to_column * size_of(to.type);
        for (int i = 0; i < step->inputs; i += 16) {
            __mmask16 mask = lanes(step->inputs - i);
            __m512 d = load_numbers(x + i * size_of(from.type), from.type, mask);
            d = _mm512_fmadd_ps(d, _mm512_loadu_ps(factors + i), _mm512_loadu_ps(step->bias + i));
            store_numbers(y + i * size_of(to.type), to.type, mask, d);
        }
    }
}

/* Lays out a block: the caller's rows where they are, all others one after another in this thread's memory. */
static int lay_out(const Program *program, int64_t first, Block *block) {
    char *free = scratch(program->bytes);
    if (!free) return -1;
    for (int i = 0; i < program->buffer_count; i++) {
        const Buffer *buffer = &program->buffers[i];
        Rows *rows = &block->rows[i];
        rows->type = buffer->type;
        if (buffer->base) {
            rows->base = buffer->base + first * buffer->stride;
            rows->stride = buffer->stride;
        } else {
            rows->stride = padded(buffer->width * size_of(buffer->type));
            rows->base = free;
            free += rows->stride * program->block;
        }
    }
    block->copy_stride = padded(program->widest);
    block->copies = free;
    block->scales = (float *)(free + block->copy_stride * program->block);
    block->offsets = block->scales + program->block;
    return 0;
}

/* The blocks: whole ones, then quarters, so that threads which are not equally fast end together. */
static void place_of(const Program *program, long index, int64_t *first, int *rows) {
    long size = index < program->whole ? program->block : program->quarter;
    *first = index < program->whole ? index * size : program->whole * program->block + (index - program->whole) * size;
    *rows = program->rows - *first < size ? (int)(program->rows - *first) : (int)size;
}

static void run_block(long index, void *context) {
    Program *program = context;
    int64_t first;
    int rows;
    place_of(program, index, &first, &rows);
    Block block;
    if (lay_out(program, first, &block)) {
        program->failed = 1;
        return;
    }
    for (int i = 0; i < program->count; i++) {
        const Step *step = &program->steps[i];
        switch (step->kind) {
        case NORM: norm(step, &block, rows); break;
        case SCALE_AND_SHIFT: scale_and_shift(step, &block, rows); break;
        default: map(step, &block, rows);
        }
    }
}

int corpusmill_run(const Step *steps, int count, const Buffer *buffers, int buffer_count, int64_t rows, int threads) {
    Program program = {.steps = steps, .count = count, .buffers = buffers, .buffer_count = buffer_count, .rows = rows};
    if (buffer_count > MOST_BUFFERS) return -1;
    size_t row = 0;
    for (int i = 0; i < buffer_count; i++) {
        size_t bytes = padded(buffers[i].width * size_of(buffers[i].type));
        row += bytes;
    }
    for (int i = 0; i < count; i++) {
        const Step *step = &steps[i];
        int copied = step->kind == LINEAR_INT8 ||
                     (step->kind == LINEAR_FLOAT32 && buffers[step->from].type != FLOAT32) ||
                     (step->kind == LINEAR_BFLOAT16 && buffers[step->from].type != BFLOAT16);
        if (copied && input_bytes(step) > program.widest) program.widest = input_bytes(step);
    }
    row += padded(program.widest) + 2 * sizeof(float);
    /* As many rows as fit, but few enough for each thread to have several blocks. */
    long most = BLOCK_BYTES / row, fair = rows / (4L * threads);
    long size = most < MOST_ROWS ? most : MOST_ROWS;
    if (fair < size) size = fair;
    size -= size % TILE_ROWS;
    program.block = size < TILE_ROWS ? TILE_ROWS : size;
    program.quarter = program.block;
    program.whole = rows / program.block;
    if (threads > 1 && program.block >= 4 * TILE_ROWS) {
        program.quarter = program.block / 4 / TILE_ROWS * TILE_ROWS;
        program.whole -= program.whole < 2 * threads ? program.whole : 2 * threads;
    }
    program.bytes = row * program.block + 64;
    long quarters = (rows - program.whole * program.block + program.quarter - 1) / program.quarter;
    in_parallel(program.whole + quarters, threads, run_block, &program);
    return program.failed ? -1 : 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
