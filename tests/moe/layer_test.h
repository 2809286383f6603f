#ifndef TESTS_MOE_LAYER_TEST_H_
#define TESTS_MOE_LAYER_TEST_H_

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "moe/layer_context.h"
#include "tests/moe/reference_ops.h"

namespace moe {

// What a layer works with, and tensors made from plain numbers.
class LayerTest : public testing::Test {
 protected:
  explicit LayerTest(DType compute_dtype = DType::kFloat32)
      : context_{*kernels_, saved_, scratch_, compute_dtype} {}

  Tensor Make(std::initializer_list<int64_t> shape,
              DType dtype = DType::kFloat32) {
    Tensor x = memory_.Allocate(shape, dtype).value();
    kernels_->SetZero(x);
    return x;
  }

  // Small whole numbers, exact in every dtype and in every sum of a few.
  Tensor MakeNumbers(std::initializer_list<int64_t> shape, int seed,
                     DType dtype = DType::kFloat32) {
    Tensor x = Make(shape, dtype);
    for (int64_t i = 0; i < x.size(); ++i)
      Set(x, i, static_cast<float>((i * i * 7 + i * 3 + seed * 5) % 11 - 5));
    return x;
  }

  static void Set(const Tensor& x, int64_t i, float value) {
    if (x.dtype() == DType::kFloat32)
      x.data<float>()[i] = value;
    else
      x.data<BFloat16>()[i] = ToBFloat16(value);
  }
  static float Get(const Tensor& x, int64_t i) {
    return x.dtype() == DType::kFloat32 ? x.data<float>()[i]
                                        : ToFloat(x.data<BFloat16>()[i]);
  }
  static double Dot(const Tensor& a, const Tensor& b) {
    EXPECT_EQ(a.size(), b.size());
    double sum = 0;
    for (int64_t i = 0; i < a.size(); ++i) sum += Get(a, i) * Get(b, i);
    return sum;
  }
  static reference::Vector Values(const Tensor& x) {
    reference::Vector values;
    for (int64_t i = 0; i < x.size(); ++i) values.push_back(Get(x, i));
    return values;
  }
  static void ExpectNear(const Tensor& x, const reference::Vector& expected,
                         double bound) {
    ASSERT_EQ(x.size(), static_cast<int64_t>(expected.size()));
    for (int64_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(Get(x, i), expected[static_cast<size_t>(i)], bound) << i;
  }

  std::unique_ptr<Kernels> kernels_ = MakeCpuKernels(1);
  Arena memory_;  // of the test
  Arena saved_;
  Arena scratch_;
  LayerContext context_;
};

}  // namespace moe

#endif  // TESTS_MOE_LAYER_TEST_H_
