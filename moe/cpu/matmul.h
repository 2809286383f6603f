#ifndef MOE_CPU_MATMUL_H_
#define MOE_CPU_MATMUL_H_

// Matrix products of one tile, by oneDNN, each on the thread that asks for it.
// Only this, instructions.cc and block_product.h know oneDNN.
//
// Letters: T rows, I inputs and O outputs of a linear map.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/base/dtype.h"

namespace moe::cpu {

// The three products of a linear map: x_TI, w_OI, y_TO, all row-major.
enum class LinearOp {
  kForward,         // y (+)= x w^T
  kInputGradient,   // x (+)= y w
  kWeightGradient,  // w (+)= y^T x
};

// What a primitive is made for.
struct MatMulClass {
  static constexpr int64_t kAnyRows = -1;

  LinearOp op = LinearOp::kForward;
  DType in = DType::kFloat32;   // of both factors
  DType out = DType::kFloat32;  // of the result
  bool accumulate = false;
  int64_t rows = kAnyRows;  // T, or kAnyRows: told at each execution
  int64_t outputs = 0;      // O
  int64_t inputs = 0;       // I
  int64_t x_pitch = 0;      // elements from a row of x to the next
  int64_t w_pitch = 0;
  int64_t y_pitch = 0;

  friend auto operator<=>(const MatMulClass&, const MatMulClass&) = default;
};

struct MatMulOperands {
  void* x = nullptr;
  void* w = nullptr;
  void* y = nullptr;
};

// What a thread brings to an execution.
struct MatMulWorker {
  dnnl_stream_t stream = nullptr;
  std::byte* scratch = nullptr;  // at least MatMul::ScratchBytes, 64-aligned
};

// One primitive, const and shared between threads.
class MatMul {
 public:
  // Where the library has nothing for bfloat16 but its naive `ref`, the factors
  // are converted to float32, tile by tile, and the product is made of these.
  // Internal if it has nothing better for float32 either.
  static absl::StatusOr<std::unique_ptr<const MatMul>> Create(
      const dnnl::engine& engine, const MatMulClass& shape);

  // For an execution of up to `max_rows` rows.
  int64_t ScratchBytes(int64_t max_rows) const;

  // False if the library failed. `rows` is T.
  bool Execute(const MatMulOperands& operands, int64_t rows,
               const MatMulWorker& worker) const;

  const std::string& implementation() const { return implementation_; }

 private:
  MatMul(const dnnl::engine& engine, const MatMulClass& shape)
      : engine_(engine), shape_(shape) {}

  // Throws what oneDNN throws.
  void MakePrimitive();
  bool ExecutePrimitive(const MatMulOperands& operands, int64_t rows,
                        const MatMulWorker& worker) const;
  bool ExecuteConverted(const MatMulOperands& operands, int64_t rows,
                        const MatMulWorker& worker) const;

  dnnl::engine engine_;
  MatMulClass shape_;
  dnnl::matmul primitive_;
  dnnl::memory::desc scratchpad_;
  std::string implementation_;
  std::unique_ptr<const MatMul> float_product_;  // of converted factors
};

// The primitives made so far, by class, and a stream for each thread.
class MatMulEngine {
 public:
  static absl::StatusOr<std::unique_ptr<MatMulEngine>> Create(int threads);

  // Made at the first call for a class and kept.
  absl::StatusOr<const MatMul*> Get(const MatMulClass& shape);

  dnnl_stream_t stream(int thread) const {
    return streams_[static_cast<size_t>(thread)].get();
  }

  // Names of the implementations, once each.
  std::vector<std::string> Implementations() const;

 private:
  MatMulEngine() = default;

  dnnl::engine engine_;
  std::vector<dnnl::stream> streams_;
  std::map<MatMulClass, std::unique_ptr<const MatMul>> products_;
};

}  // namespace moe::cpu

#endif  // MOE_CPU_MATMUL_H_
