/* Whether this CPU can run the kernels, and stubs on other platforms. */
#include "kernels.h"

int corpusmill_sizes(void) {
    return (int)(sizeof(Buffer) | sizeof(Step) << 8 | sizeof(Attention) << 16);
}

#if defined(__x86_64__)
int corpusmill_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}
#else
int corpusmill_supported(void) { return 0; }
void corpusmill_use_threads(void *gomp_parallel) { (void)gomp_parallel; }
int corpusmill_run(const Step *s, int n, const Buffer *b, int m, int64_t rows, int threads) {
    (void)s, (void)n, (void)b, (void)m, (void)rows, (void)threads;
    return -1;
}
int corpusmill_attend(const Attention *attention) {
    (void)attention;
    return -1;
}
#endif
