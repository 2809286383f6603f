#include "launch/bench/bench_tensors.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "comm/base/dtype.h"
#include "comm/base/philox.h"
#include "comm/base/status_macros.h"

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
  std::vector<BFloat16> rounded;
  const void* from = numbers.data();
  if (tensor.dtype() == DType::kBFloat16) {
    rounded.resize(numbers.size());
    std::transform(numbers.begin(), numbers.end(), rounded.begin(), ToBFloat16);
    from = rounded.data();
  }
  const MemoryView all = tensor.View();
  for (int64_t begin = 0; begin < all.count; begin += n) {
    const int64_t count = std::min(n, all.count - begin);
    kernels_.context().Upload(all.Slice(begin, count).data, from,
                              count * SizeOf(all.dtype));
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
  std::vector<int32_t> chosen;
  uint64_t draws = 0;
  for (int64_t t = 0; t < T; ++t) {
    // The first K of a shuffle.
    for (int64_t k = 0; k < K; ++k) {
      const double u = philox.Uniform(draws++);
      const int64_t other =
          k + static_cast<int64_t>(u * static_cast<double>(E - k));
      std::swap(experts[static_cast<size_t>(k)],
                experts[static_cast<size_t>(other)]);
      chosen.push_back(experts[static_cast<size_t>(k)]);
    }
  }
  kernels_.context().Upload(choices.raw(), chosen.data(),
                            choices.size() * SizeOf(DType::kInt32));
  return choices;
}

}  // namespace moe
