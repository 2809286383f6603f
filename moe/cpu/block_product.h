#ifndef MOE_CPU_BLOCK_PRODUCT_H_
#define MOE_CPU_BLOCK_PRODUCT_H_

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>

namespace moe::cpu {

// A small row-major float32 matrix inside a larger buffer.
struct Block {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t stride = 0;  // elements between rows
};

inline Block Dense(float* data, int64_t rows, int64_t columns) {
  return {data, rows, columns, columns};
}

// Products of blocks that fit the cache, by oneDNN's own sgemm: from 32 rows on
// it reaches over 80 % of what it does on large matrices, with the widest
// instructions of the processor whatever -march these files have. Inside a
// parallel region it stays on the calling thread.
//
// c = op(a) op(b) + beta c, op transposing where asked; false if oneDNN failed.
[[nodiscard]] inline bool Multiply(const Block& c, const Block& a,
                                   bool transpose_a, const Block& b,
                                   bool transpose_b, float beta) {
  const int64_t inner = transpose_a ? a.rows : a.columns;
  return dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', c.rows,
                    c.columns, inner, 1.0f, a.data, a.stride, b.data, b.stride,
                    beta, c.data, c.stride) == dnnl_success;
}

}  // namespace moe::cpu

#endif  // MOE_CPU_BLOCK_PRODUCT_H_
