#ifndef TESTS_MOE_KERNEL_TEST_UTIL_H_
#define TESTS_MOE_KERNEL_TEST_UTIL_H_

// What the kernels' tests share: tensors of random values, comparison with
// references in double, and derivatives by central differences of them.
//
// A kernel's inputs are rounded to its dtype first and the reference starts
// from the rounded values, so that only the kernel's own rounding is measured.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/base/philox.h"
#include "moe/kernels.h"
#include "moe/tensor.h"

namespace moe {

// A tensor that owns exactly its bytes, so that AddressSanitizer sees a kernel
// step over its end.
class TestTensor {
 public:
  TestTensor(std::initializer_list<int64_t> shape, DType dtype) {
    int64_t size = 1;
    for (int64_t dim : shape) size *= dim;
    const size_t num_bytes = static_cast<size_t>(size * SizeOf(dtype));
    bytes_.reset(static_cast<std::byte*>(::operator new(num_bytes, kAlign)));
    std::memset(bytes_.get(), 0, num_bytes);
    view_ = Tensor(bytes_.get(), shape, dtype);
  }

  const Tensor& view() const { return view_; }
  operator const Tensor&() const { return view_; }  // NOLINT: like a Tensor
  int64_t size() const { return view_.size(); }
  DType dtype() const { return view_.dtype(); }

  double Get(int64_t i) const {
    switch (dtype()) {
      case DType::kFloat32:
        return view_.data<float>()[i];
      case DType::kBFloat16:
        return ToFloat(view_.data<BFloat16>()[i]);
      case DType::kInt32:
        return view_.data<int32_t>()[i];
      case DType::kFloat64:
        return view_.data<double>()[i];
      default:
        return static_cast<double>(view_.data<int64_t>()[i]);
    }
  }

  // Rounds to the dtype.
  void Set(int64_t i, double value) {
    switch (dtype()) {
      case DType::kFloat32:
        view_.data<float>()[i] = static_cast<float>(value);
        break;
      case DType::kBFloat16:
        view_.data<BFloat16>()[i] = ToBFloat16(static_cast<float>(value));
        break;
      case DType::kInt32:
        view_.data<int32_t>()[i] = static_cast<int32_t>(value);
        break;
      case DType::kFloat64:
        view_.data<double>()[i] = value;
        break;
      default:
        view_.data<int64_t>()[i] = static_cast<int64_t>(value);
    }
  }

  void Fill(double value) {
    for (int64_t i = 0; i < size(); ++i) Set(i, value);
  }

  std::vector<double> Values() const {
    std::vector<double> values(static_cast<size_t>(size()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = Get(static_cast<int64_t>(i));
    return values;
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Delete {
    void operator()(std::byte* bytes) const {
      ::operator delete(bytes, kAlign);
    }
  };

  std::unique_ptr<std::byte, Delete> bytes_;
  Tensor view_;
};

// Normal numbers of deviation `deviation`, rounded to the dtype; another
// `seed`, another tensor.
inline TestTensor RandomTensor(std::initializer_list<int64_t> shape,
                               DType dtype, uint64_t seed,
                               float deviation = 1) {
  TestTensor tensor(shape, dtype);
  std::vector<float> normal(static_cast<size_t>(tensor.size()));
  Philox(seed).FillNormal(0, deviation, absl::MakeSpan(normal));
  for (size_t i = 0; i < normal.size(); ++i)
    tensor.Set(static_cast<int64_t>(i), normal[i]);
  return tensor;
}

inline TestTensor IndexTensor(std::initializer_list<int64_t> shape,
                              const std::vector<int32_t>& values) {
  TestTensor tensor(shape, DType::kInt32);
  CHECK(tensor.size() == static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), tensor.view().data<int32_t>());
  return tensor;
}

inline double LargestMagnitude(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Every element within `relative` of the expected one's magnitude plus
// `absolute` of the largest expected magnitude. Says where the worst one is.
inline void ExpectNear(const TestTensor& actual,
                       const std::vector<double>& expected, double relative,
                       double absolute, const std::string& what) {
  ASSERT_EQ(actual.size(), static_cast<int64_t>(expected.size())) << what;
  const double scale = LargestMagnitude(expected);
  size_t worst = 0;
  double worst_excess = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error =
        std::abs(actual.Get(static_cast<int64_t>(i)) - expected[i]);
    const double bound =
        relative * std::abs(expected[i]) + absolute * scale + 1e-30;
    const double excess = std::isnan(error)
                              ? std::numeric_limits<double>::infinity()
                              : error / bound;
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
  }
  if (expected.empty()) return;
  EXPECT_LE(worst_excess, 1.0)
      << what << ": element " << worst << " is "
      << actual.Get(static_cast<int64_t>(worst)) << ", expected "
      << expected[worst] << " (largest " << scale << ")";
}

// The bound for a result that is computed in float32 and rounded once to the
// tensor's dtype: half a unit in the last place of bfloat16 is 2^-8.
inline void ExpectRounded(const TestTensor& actual,
                          const std::vector<double>& expected,
                          const std::string& what, double float_error = 4e-6) {
  const double rounding =
      actual.dtype() == DType::kBFloat16 ? 0x1p-8 + float_error : float_error;
  ExpectNear(actual, expected, rounding, float_error, what);
}

using DoubleFunction = std::function<double(const std::vector<double>&)>;

// d f / d x[i] by a central difference of fourth order.
inline double Derivative(const DoubleFunction& f, std::vector<double> x,
                         size_t i, double step = 1e-3) {
  const double x_i = x[i];
  const auto at = [&](double offset) {
    x[i] = x_i + offset * step;
    return f(x);
  };
  return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
}

// The whole gradient.
inline std::vector<double> Gradient(const DoubleFunction& f,
                                    const std::vector<double>& x) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) gradient[i] = Derivative(f, x, i);
  return gradient;
}

inline double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// A test over both compute dtypes: TEST_P with GetParam() the dtype.
class KernelTest : public testing::TestWithParam<DType> {
 protected:
  static constexpr int kThreads = 2;
  std::unique_ptr<Kernels> context_ = MakeCpuKernels(kThreads);
  Kernels& context() { return *context_; }
};

inline std::string DTypeName(const testing::TestParamInfo<DType>& info) {
  return std::string(Name(info.param));
}

#define INSTANTIATE_BOTH_DTYPES(suite) \
  INSTANTIATE_TEST_SUITE_P(            \
      , suite, testing::Values(DType::kFloat32, DType::kBFloat16), DTypeName)

}  // namespace moe

#endif  // TESTS_MOE_KERNEL_TEST_UTIL_H_
