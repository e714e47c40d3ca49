/* Programs of steps on single rows, run on blocks of rows that stay in a core's cache.
 *
 * A layer's steps between two attentions are one program: nothing between them is written to memory, and rows
 * are divided among threads once.
 */
#if defined(__x86_64__)
#include "block.h"
#include "parallel.h"

/* Bytes of a block. It is larger than a core's second-level cache, because each block reads all weights of a
 * program from a farther cache; float32 is faster with such blocks. */
enum { BLOCK_BYTES = 2400 << 10 };

typedef struct {
    const Step *steps;
    int count;
    const Buffer *buffers;
    int buffer_count;
    int64_t rows;
    long block, quarter, whole; /* rows of a block and of a smaller one, and the number of blocks */
    long widest;                /* bytes of a row of the widest copy */
    size_t bytes;               /* of a whole block */
    int failed;
} Program;

/* Between rows is one more cache line, so that the rows of a tile do not compete for a set of the cache.
 */
static size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64 + 64; }

/* Lays out a block: the caller's rows stay in place, all others are in this thread's memory.
 */
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

/* The blocks: whole ones, then quarters, so that threads of different speed end together. */
static void place_of(const Program *program, long index, int64_t *first, int *rows) {
    long size = index < program->whole ? program->block : program->quarter;
    *first = index < program->whole ? index * size
                                    : program->whole * program->block + (index - program->whole) * size;
    *rows = program->rows - *first < size ? (int)(program->rows - *first) : (int)size;
}

/* Returns the weights that are used after those of a step: of the next map, or for the next rows of the
 * first. */
static const char *following(const Program *program, int index) {
    for (int i = 1; i <= program->count; i++) {
        const Step *step = &program->steps[(index + i) % program->count];
        if (step->kind <= LINEAR_INT8) return step->weight;
    }
    return 0;
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
        case NORM: norm_rows(step, &block, rows); break;
        case SCALE_AND_SHIFT: scale_and_shift_rows(step, &block, rows); break;
        default: map_rows(step, &block, rows, following(program, i));
        }
    }
}

/* Sets the rows of a block: as many as fit, but few enough that each thread has several blocks. */
static void cut(Program *program, int threads) {
    size_t row = padded(program->widest) + 2 * sizeof(float);
    for (int i = 0; i < program->buffer_count; i++)
        row += padded(program->buffers[i].width * size_of(program->buffers[i].type));
    long most = BLOCK_BYTES / row, fair = program->rows / (4L * threads);
    long size = most < MOST_ROWS ? most : MOST_ROWS;
    if (fair < size) size = fair;
    size -= size % TILE_ROWS;
    program->block = size < TILE_ROWS ? TILE_ROWS : size;
    program->quarter = program->block;
    program->whole = program->rows / program->block;
    if (threads > 1 && program->block >= 4 * TILE_ROWS) {
        program->quarter = program->block / 4 / TILE_ROWS * TILE_ROWS;
        program->whole -= program->whole < 2 * threads ? program->whole : 2 * threads;
    }
    program->bytes = row * program->block;
}

int corpusmill_run(const Step *steps, int count, const Buffer *buffers, int buffer_count, int64_t rows,
                   int threads) {
    Program program = {
        .steps = steps, .count = count, .buffers = buffers, .buffer_count = buffer_count, .rows = rows};
    if (buffer_count > MOST_BUFFERS) return -1;
    for (int i = 0; i < count; i++) {
        long bytes = copied_bytes(&steps[i], buffers[steps[i].from].type);
        if (bytes > program.widest) program.widest = bytes;
    }
    cut(&program, threads);
    long left = rows - program.whole * program.block;
    in_parallel(program.whole + (left + program.quarter - 1) / program.quarter, threads, run_block, &program);
    return program.failed ? -1 : 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
