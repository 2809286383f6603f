#ifndef LAUNCH_BENCH_BENCH_TENSORS_H_
#define LAUNCH_BENCH_BENCH_TENSORS_H_

#include <cstdint>
#include <initializer_list>

#include "absl/status/statusor.h"
#include "moe/kernels.h"
#include "moe/layers/arena.h"
#include "moe/tensor.h"

namespace moe {

// Makes what kernels are measured on; the tensors live as long as it does.
class BenchTensors {
 public:
  // `dtype`: of tensors for which no other is named.
  BenchTensors(Kernels& kernels, DType dtype)
      : kernels_(kernels), dtype_(dtype) {}

  // Small normal numbers, so that no product meets denormals. Beyond a million
  // elements they repeat. ResourceExhausted: no memory.
  absl::StatusOr<Tensor> Make(std::initializer_list<int64_t> shape);
  absl::StatusOr<Tensor> Make(std::initializer_list<int64_t> shape,
                              DType dtype);

  // New values of that kind, float32 or bfloat16.
  void Fill(const Tensor& tensor);

  // K different experts of E for each of T tokens, int32, all equally likely.
  absl::StatusOr<Tensor> MakeChoices(int64_t T, int64_t K, int64_t E);

  absl::StatusOr<Tensor> MakeUninitialised(std::initializer_list<int64_t> shape,
                                           DType dtype) {
    return arena_.Allocate(shape, dtype);
  }

 private:
  Kernels& kernels_;
  DType dtype_;
  Arena arena_{kernels_.context()};
};

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_TENSORS_H_
