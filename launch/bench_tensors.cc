#include "launch/bench_tensors.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "comm/philox.h"
#include "comm/status_macros.h"

namespace moe {

absl::StatusOr<Tensor> BenchTensors::Make(
    std::initializer_list<int64_t> shape) {
  return Make(shape, dtype_);
}

absl::StatusOr<Tensor> BenchTensors::Make(std::initializer_list<int64_t> shape,
                                          DType dtype) {
  ASSIGN_OR_RETURN(const Tensor tensor, arena_.Allocate(shape, dtype));
  Fill(tensor);
  return tensor;
}

void BenchTensors::Fill(const Tensor& tensor) {
  constexpr int64_t kMostNumbers = int64_t{1} << 20;
  const int64_t n = std::min(tensor.size(), kMostNumbers);
  std::vector<float> numbers(static_cast<size_t>(n));
  Philox(/*key=*/1).FillNormal(0, 0.1f, absl::MakeSpan(numbers));
  char* const bytes = static_cast<char*>(tensor.raw());
  kernels_.Convert(Tensor(bytes, {n}, tensor.dtype()),
                   Tensor(numbers.data(), {n}, DType::kFloat32));
  const int64_t size = tensor.size() * SizeOf(tensor.dtype());
  const int64_t step = n * SizeOf(tensor.dtype());
  for (int64_t begin = step; begin < size; begin += step) {
    std::memcpy(bytes + begin, bytes,
                static_cast<size_t>(std::min(step, size - begin)));
  }
}

absl::StatusOr<Tensor> BenchTensors::MakeChoices(int64_t T, int64_t K,
                                                 int64_t E) {
  ASSIGN_OR_RETURN(const Tensor choices,
                   arena_.Allocate({T, K}, DType::kInt32));
  const Philox philox(/*key=*/2);
  std::vector<int32_t> experts(static_cast<size_t>(E));
  for (size_t e = 0; e < experts.size(); ++e)
    experts[e] = static_cast<int32_t>(e);
  int32_t* choice = choices.data<int32_t>();
  uint64_t draws = 0;
  for (int64_t t = 0; t < T; ++t) {
    // The first K of a shuffle.
    for (int64_t k = 0; k < K; ++k) {
      const double u = philox.Uniform(draws++);
      const int64_t other =
          k + static_cast<int64_t>(u * static_cast<double>(E - k));
      std::swap(experts[static_cast<size_t>(k)],
                experts[static_cast<size_t>(other)]);
      *choice++ = experts[static_cast<size_t>(k)];
    }
  }
  return choices;
}

}  // namespace moe
